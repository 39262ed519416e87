"""Every word's exact share of the logit.

After global max pooling a filter's value comes from one window of words, and each word in it adds `E[x] . W[k]`. The
dense layers are taken as what they are at this input: an activation a is a line through its value at zero,
a(z) = a(0) + s z, which for relu is the gradient. So, going back from a logit,

    logit = constant + sum over filters f of  m[f] * z[f],      z[f] = b[f] + sum over k of  E[x[p[f] + k]] . W[k, :, f]

and what word x[p] contributes to the sum is its share. Nothing is estimated and nothing is left over: bias, padding and
shares add up to the logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.explaining.forward import Pass, apply
from service.explaining.network import Floats, Network


@dataclass(frozen=True)
class Attribution:
    """Where a logit comes from: `bias` and all `shares` add up to it, but for the rounding of float32."""

    logit: float
    bias: float
    shares: npt.NDArray[np.float64]  # [time]
    weights: Floats  # [filters of all banks]: what the logit gains with a pooled value


def attribute(network: Network, taken: Pass, unit: int) -> Attribution:
    """Where the logit of a unit of the last layer comes from."""
    weights, constant = _linearize(network, taken, unit)
    shares = np.zeros(len(taken.tokens))
    first = 0
    for pooled in taken.pooled:
        bank = pooled.bank
        own = weights[first : first + len(pooled.values)]
        first += len(own)
        slopes, offsets = _line(bank.activations, pooled.sums)
        factors = own * slopes
        constant += float(own @ offsets + factors @ bank.bias)
        active = np.flatnonzero(factors)
        places = pooled.positions[active]
        under = pooled.windows[places].reshape(len(active), bank.width, -1)
        products = np.einsum("fkd,kdf->fk", under, bank.kernel[:, :, active]) * factors[active, np.newaxis]
        shares += np.bincount((places[:, np.newaxis] + np.arange(bank.width)).ravel(), products.ravel(), len(shares))
    return Attribution(float(taken.logits[unit]), constant, shares, weights)


def _linearize(network: Network, taken: Pass, unit: int) -> tuple[Floats, float]:
    """m and the constant, from the last layer back to the pooled values."""
    weights: Floats = network.head[-1].kernel[:, unit]
    constant = float(network.head[-1].bias[unit])
    for dense, layer in zip(network.head[-2::-1], taken.layers[-2::-1], strict=True):
        slopes, offsets = _line(dense.activations, layer.sums)
        constant += float(weights @ offsets)
        weights = weights * slopes
        constant += float(weights @ dense.bias)
        weights = dense.kernel @ weights
    return weights, constant


def _line(activations: tuple[str, ...], sums: Floats) -> tuple[Floats, Floats]:
    """Slope and offset of the line from an activation's value at zero to its value at each sum."""
    offsets = apply(activations, np.zeros_like(sums))
    rises = apply(activations, sums) - offsets
    slopes = np.divide(rises, sums, out=np.zeros_like(sums), where=sums != 0)
    return slopes, offsets


def strongest(taken: Pass, attribution: Attribution, count: int) -> Sequence[int]:
    """The filters that move the logit most, by their number over all banks."""
    values = np.concatenate([pooled.values for pooled in taken.pooled])
    moves = np.abs(attribution.weights * values)
    return [int(number) for number in np.argsort(-moves, kind="stable")[:count] if moves[number] > 0]
