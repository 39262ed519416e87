"""One text's way through the network, with everything that is computed on it.

For one row of ids x [time], with E the embedding and W the kernel of a bank of width w and dilation d that spans
s = (w - 1) d + 1 words; x is padded first if the convolution pads:

    feature map   F[t, f] = sum over k < w of  E[x[t + k d]] . W[k, :, f]      [time - s + 1, filters]
    position      p[f]    = argmax over t of F[t, f], the first where several are as large
    sum           z[f]    = F[p[f], f] + b[f]
    pooled        a[f]    = activation(z[f])

for max pooling; average pooling takes the mean of activation(F[t, f] + b[f]) over all t.

Most activations of the family never fall, so the maximum before them is the maximum after them. If one falls and then
rises, as gelu does, p[f] is argmin instead of argmax for the filters whose activation is larger there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.layers import Bank, Weights, apply
from sentiment_conv1d.service.inference.explaining.network import Network


@dataclass(frozen=True)
class Pooled:
    """What one bank makes of a text."""

    bank: Bank
    table: Weights  # [width, vocabulary, filters]: what a word adds under a tap
    tokens: npt.NDArray[np.int32]  # [time, with the padding of the bank]
    feature_map: Weights  # [positions, filters], before bias and activation
    windows: npt.NDArray[np.intp]  # [windows, filters]: positions that are pooled; one for max pooling, else all
    sums: Weights  # [windows, filters] at these positions, with the bias
    values: Weights  # [filters]: the means of the activated sums

    @property
    def positions(self) -> npt.NDArray[np.intp]:
        """[filters]: the position that is pooled; for average pooling the one where the map is highest."""
        positions: npt.NDArray[np.intp] = self.windows[0]
        return positions if self.bank.pooling == "max" else self.feature_map.argmax(axis=0)


@dataclass(frozen=True)
class Layer:
    """What one dense layer makes of its inputs."""

    sums: Weights  # [units], with the bias
    values: Weights  # [units]


@dataclass(frozen=True)
class Pass:
    """All of it."""

    tokens: npt.NDArray[np.int32]  # [time]
    pooled: tuple[Pooled, ...]
    features: Weights  # [filters of all banks]: the pooled values, which the dense layers read
    layers: tuple[Layer, ...]

    @property
    def positions(self) -> npt.NDArray[np.intp]:
        """[filters of all banks]: where in `tokens` the window of each starts; below 0 in the padding of its bank."""
        return np.concatenate([pooled.positions - pooled.bank.padding[0] for pooled in self.pooled])

    @property
    def logits(self) -> Weights:
        """[labels], or [1] of the second label under a sigmoid."""
        return self.layers[-1].values


def forward(network: Network, tokens: npt.NDArray[np.int32]) -> Pass:
    """The way of one row of ids int32 [time], padding included, which must be no shorter than the widest filter."""
    pooled = tuple(_pool(bank, table, tokens) for bank, table in zip(network.banks, network.tables, strict=True))
    features = value = np.concatenate([each.values for each in pooled])
    layers = []
    for dense in network.head:
        sums = value @ dense.kernel + dense.bias
        value = apply(dense.activations, sums)
        layers.append(Layer(sums, value))
    return Pass(tokens, pooled, features, tuple(layers))


def _pool(bank: Bank, table: Weights, row: npt.NDArray[np.int32]) -> Pooled:
    outside = table.shape[1] - 1
    tokens = np.pad(row, bank.padding, constant_values=outside) if any(bank.padding) else row
    count = len(tokens) - bank.span + 1
    feature_map: Weights = table[0].take(tokens[:count], axis=0)
    for tap in range(1, bank.width):
        start = tap * bank.dilation
        feature_map += table[tap].take(tokens[start : start + count], axis=0)
    if bank.pooling == "mean":
        everywhere = np.broadcast_to(np.arange(count)[:, np.newaxis], feature_map.shape)
        return _at(bank, table, tokens, feature_map, everywhere)
    pooled = _at(bank, table, tokens, feature_map, feature_map.argmax(axis=0)[np.newaxis])
    if not bank.quasiconvex:
        return pooled
    least = _at(bank, table, tokens, feature_map, feature_map.argmin(axis=0)[np.newaxis])
    windows = np.where(least.values > pooled.values, least.windows, pooled.windows)
    return _at(bank, table, tokens, feature_map, windows)


def _at(
    bank: Bank,
    table: Weights,
    tokens: npt.NDArray[np.int32],
    feature_map: Weights,
    windows: npt.NDArray[np.intp],
) -> Pooled:
    sums: Weights = feature_map[windows, np.arange(len(bank.bias))] + bank.bias
    values: Weights = apply(bank.activations, sums)
    return Pooled(
        bank, table, tokens, feature_map, windows, sums, values[0] if len(values) == 1 else values.mean(axis=0)
    )
