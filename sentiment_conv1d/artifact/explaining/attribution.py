"""Computes every word's exact share of the logit.

After global max pooling, the value of a filter comes from one window of words, and each word in it adds `E[x] . W[k]`.
After average pooling, it comes from all windows in equal parts. An activation a is replaced by the line through its
value at zero and its value at this input, a(z) = a(0) + s z. For relu, s is the gradient. The logit is then

    logit = constant + sum over filters f of  m[f] * z[f],      z[f] = b[f] + sum over k of  E[x[p[f] + k]] . W[k, :, f]

and the share of word x[p] is its part of this sum. Nothing is estimated: bias, padding and shares add up to the logit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.explaining.forward import Pass, forward
from sentiment_conv1d.artifact.explaining.network import Network
from sentiment_conv1d.artifact.explaining.reading import Word, read
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.layers import Weights, back
from sentiment_conv1d.artifact.tokenizer import Tokenizer


@dataclass(frozen=True)
class Attribution:
    """The parts of a logit. `bias` and all `shares` add up to it, except for float32 rounding."""

    logit: float
    bias: float
    shares: npt.NDArray[np.float64]  # [sequence_length]
    weights: Weights  # [filters of all banks]: the factor of each pooled value in the logit
    layers: tuple[Weights, ...]  # [units] of each dense layer: the factor of each of its values in the logit


def attribute(network: Network, taken: Pass, unit: int, against: int | None = None) -> Attribution:
    """Divide the logit of a unit of the last layer into its parts.

    With `against`, divide the difference to the logit of that unit, whose parts are the differences of the parts.
    """
    outputs: Weights = np.zeros_like(taken.logits)
    outputs[unit] = 1
    logit = float(taken.logits[unit])
    if against is not None:
        outputs[against] = -1
        logit -= float(taken.logits[against])
    weights, layers, constant = _linearize(network, taken, outputs)
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
        factors, rest = back(own, bank.activations, bias, pooled.sums.ravel())
        constant += rest
        active = np.flatnonzero(factors)
        filters = active % len(bank.bias)
        places = pooled.windows.ravel()[active, np.newaxis] + np.arange(bank.width) * bank.dilation
        products = pooled.tables.parts(pooled.tokens[places], filters) * factors[active, np.newaxis]
        padded = np.bincount(places.ravel(), products.ravel(), len(pooled.tokens))
        before, behind = bank.padding[0], bank.padding[0] + len(shares)
        shares += padded[before:behind]
        # The zeros around the text add nothing in float32. In 8 bits they add their quantization error.
        constant += float(padded[:before].sum() + padded[behind:].sum())
    return Attribution(logit, constant, shares, weights, layers)


def _linearize(network: Network, taken: Pass, outputs: Weights) -> tuple[Weights, tuple[Weights, ...], float]:
    """Return m, the factors of the values of each dense layer in the logit, and the constant.

    `outputs` are the factors of the values of the last layer.
    """
    weights = outputs
    layers: list[Weights] = []
    constant = 0.0
    for dense, layer in zip(reversed(network.head), reversed(taken.layers), strict=True):
        layers.insert(0, weights)
        weights, rest = dense.back(weights, layer.sums)
        constant += rest
    return weights, tuple(layers), constant


def strongest(taken: Pass, attribution: Attribution, count: int) -> npt.NDArray[np.intp]:
    """Return the numbers over all banks of the filters that move the logit most. Of equal filters, the first wins."""
    moves = np.abs(attribution.weights * taken.features)
    order: npt.NDArray[np.intp] = np.argsort(-moves, kind="stable")[:count]
    return order[: np.count_nonzero(moves[order])]


def explain_words(network: Network, tokenizer: Tokenizer, text: str, unit: int) -> list[Word]:
    """Return the words that the network reads of a text, with their shares of the logit of a unit of the last layer."""
    leading_padding = None if network.averages else max(bank.span for bank in network.banks)
    reading = read(text, tokenizer.encode(text), tokenizer, InputShape.of(tokenizer, leading_padding))
    shares = attribute(network, forward(network, reading.row), unit).shares
    return reading.words(text, shares, tokenizer.unknown_id)
