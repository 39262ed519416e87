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

The products E[x] . W[k, :, f] are looked up in tables; those of an 8-bit graph are its own, in its own steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.explaining.network import Network
from sentiment_conv1d.model.explaining.tables import Entries, Tables
from sentiment_conv1d.model.layers import Bank, Weights, apply


@dataclass(frozen=True)
class Pooled:
    """What one bank makes of a text."""

    bank: Bank
    tables: Tables
    tokens: npt.NDArray[np.int32]  # [time, with the padding of the bank]
    entries: Entries  # [positions, filters], sums of table entries
    windows: npt.NDArray[np.intp]  # [windows, filters]: positions that are pooled; one for max pooling, else all
    sums: Weights  # [windows, filters] at these positions, with the bias
    values: Weights  # [filters]: the means of the activated sums

    @property
    def positions(self) -> npt.NDArray[np.intp]:
        """[filters]: the position that is pooled; for average pooling the one where the map is highest."""
        positions: npt.NDArray[np.intp] = self.windows[0]
        return positions if self.bank.pooling == "max" else self.feature_map.argmax(axis=0)

    @property
    def feature_map(self) -> Weights:
        """[positions, filters], before bias and activation."""
        return self.tables.values(self.entries)


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
    pooled = tuple(_pool(bank, tables, tokens) for bank, tables in zip(network.banks, network.tables, strict=True))
    features = value = np.concatenate([each.values for each in pooled])
    layers = []
    for dense in network.head:
        sums = value @ dense.kernel + dense.bias
        value = apply(dense.activations, sums)
        layers.append(Layer(sums, value))
    return Pass(tokens, pooled, features, tuple(layers))


def _pool(bank: Bank, tables: Tables, row: npt.NDArray[np.int32]) -> Pooled:
    first, *others = tables.entries
    tokens = np.pad(row, bank.padding, constant_values=len(first) - 1) if any(bank.padding) else row
    count = len(tokens) - bank.span + 1
    entries = first.take(tokens[:count], axis=0)
    for tap, table in enumerate(others, start=1):
        start = tap * bank.dilation
        entries += table.take(tokens[start : start + count], axis=0)

    def at(windows: npt.NDArray[np.intp]) -> Pooled:
        sums: Weights = tables.values(entries[windows, np.arange(len(bank.bias))]) + bank.bias
        values: Weights = apply(bank.activations, sums)
        values = values[0] if len(values) == 1 else values.mean(axis=0)
        return Pooled(bank, tables, tokens, entries, windows, sums, values)

    if bank.pooling == "mean":
        return at(np.broadcast_to(np.arange(count)[:, np.newaxis], entries.shape))
    pooled = at(entries.argmax(axis=0)[np.newaxis])
    if not bank.quasiconvex:
        return pooled
    least = at(entries.argmin(axis=0)[np.newaxis])
    return at(np.where(least.values > pooled.values, least.windows, pooled.windows))
