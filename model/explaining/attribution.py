"""Every word's exact share of the logit.

After global max pooling a filter's value comes from one window of words, and each word in it adds `E[x] . W[k]`. After
average pooling it comes from all windows, and each has an equal part of it. An activation a is taken as the line
through its value at zero and its value at this input, a(z) = a(0) + s z, which for relu is the gradient. So, going back
from a logit,

    logit = constant + sum over filters f of  m[f] * z[f],      z[f] = b[f] + sum over k of  E[x[p[f] + k]] . W[k, :, f]

and what word x[p] contributes to the sum is its share. Nothing is estimated and nothing is left over: bias, padding and
shares add up to the logit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.explaining.forward import Pass
from sentiment_conv1d.model.explaining.network import Network
from sentiment_conv1d.model.layers import Weights, apply


@dataclass(frozen=True)
class Attribution:
    """Where a logit comes from: `bias` and all `shares` add up to it, but for the rounding of float32."""

    logit: float
    bias: float
    shares: npt.NDArray[np.float64]  # [time]
    weights: Weights  # [filters of all banks]: what the logit gains with a pooled value
    layers: tuple[Weights, ...]  # [units] of each dense layer: what the logit gains with its values


def attribute(network: Network, taken: Pass, unit: int) -> Attribution:
    """Where the logit of a unit of the last layer comes from."""
    weights, layers, constant = _linearize(network, taken, unit)
    shares = np.zeros(len(taken.tokens))
    first = 0
    for pooled in taken.pooled:
        bank = pooled.bank
        own = weights[first : first + len(pooled.values)]
        first += len(own)
        windows = len(pooled.windows)
        bias = bank.bias
        if windows > 1:
            own, bias = np.tile(own / windows, windows), np.tile(bias, windows)
        factors, rest = _back(own, bank.activations, bias, pooled.sums.ravel())
        constant += rest
        active = np.flatnonzero(factors)
        filters = active % len(bank.bias)
        places = pooled.windows.ravel()[active, np.newaxis] + np.arange(bank.width) * bank.dilation
        products = pooled.tables.parts(pooled.tokens[places], filters) * factors[active, np.newaxis]
        padded = np.bincount(places.ravel(), products.ravel(), len(pooled.tokens))
        before, behind = bank.padding[0], bank.padding[0] + len(shares)
        shares += padded[before:behind]
        # The zeros around the text add nothing in float32, but what they are rounded to in 8 bits.
        constant += float(padded[:before].sum() + padded[behind:].sum())
    return Attribution(float(taken.logits[unit]), constant, shares, weights, layers)


def _linearize(network: Network, taken: Pass, unit: int) -> tuple[Weights, tuple[Weights, ...], float]:
    """m, what the logit gains with the values of each dense layer, and the constant; from the last layer back."""
    weights: Weights = np.zeros_like(taken.logits)
    weights[unit] = 1
    layers: list[Weights] = []
    constant = 0.0
    for dense, layer in zip(reversed(network.head), reversed(taken.layers), strict=True):
        layers.insert(0, weights)
        weights, rest = _back(weights, dense.activations, dense.bias, layer.sums)
        constant += rest
        weights = dense.kernel @ weights
    return weights, tuple(layers), constant


def _back(weights: Weights, activations: tuple[str, ...], bias: Weights, sums: Weights) -> tuple[Weights, float]:
    """From the weights of activated sums to those of the sums without their bias, and what is constant in between."""
    if not activations:
        return weights, float(weights @ bias)
    if activations == ("Relu",):  # nearly always, and a line through zero
        factors: Weights = weights * (sums > 0)
        return factors, float(factors @ bias)
    at_zero = apply(activations, np.zeros_like(sums))
    slopes = np.divide(apply(activations, sums) - at_zero, sums, out=np.zeros_like(sums), where=sums != 0)
    factors = weights * slopes
    return factors, float(factors @ bias + weights @ at_zero)


def strongest(taken: Pass, attribution: Attribution, count: int) -> npt.NDArray[np.intp]:
    """The filters that move the logit most, by their number over all banks; of equal ones the first."""
    moves = np.abs(attribution.weights * taken.features)
    order: npt.NDArray[np.intp] = np.argsort(-moves, kind="stable")[:count]
    return order[: np.count_nonzero(moves[order])]
