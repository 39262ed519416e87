"""The forward pass of one text through the network, with all intermediate values.

x is a row of n ids, E the embedding, and W the kernel of a bank. The bank has width w and dilation d and spans
s = (w - 1) d + 1 words. If the convolution pads, x is padded first. Max pooling computes:

    feature map   F[t, f] = sum over k < w of  E[x[t + k d]] . W[k, :, f]      [n - s + 1, filters]
    position      p[f]    = argmax over t of F[t, f], the first of several equal ones
    sum           z[f]    = F[p[f], f] + b[f]
    pooled        a[f]    = activation(z[f])

Average pooling computes the mean of activation(F[t, f] + b[f]) over all t.

Most activations never fall, so the maximum before the activation is the maximum after it. If an activation falls and
then rises, as gelu does, and its value is larger at argmin, p[f] is argmin instead of argmax.

The products E[x] . W[k, :, f] come from look-up tables. An 8-bit graph contains these tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.explaining.network import Entries, Network, Tables
from sentiment_conv1d.artifact.layers import Bank, Positions, Weights, apply


@dataclass(frozen=True)
class Pooled:
    """The output of one bank for a text, and the values that it is computed from."""

    bank: Bank
    tables: Tables
    tokens: npt.NDArray[np.int32]  # [sequence_length, with the padding of the bank]
    entries: Entries  # [positions, filters], sums of table entries
    windows: Positions  # [windows, filters]: pooled positions: one for max pooling, otherwise all
    sums: Weights  # [windows, filters] at these positions, with the bias
    values: Weights  # [filters]: the means of the activated sums

    @property
    def positions(self) -> npt.NDArray[np.intp]:
        """The pooled position, intp [filters], or for average pooling the position of the highest value."""
        positions: npt.NDArray[np.intp] = self.windows[0]
        return positions if len(self.windows) == 1 else self.feature_map.argmax(axis=0)

    @property
    def feature_map(self) -> Weights:
        """The feature map, float32 [positions, filters], before bias and activation."""
        return self.tables.values(self.entries)


@dataclass(frozen=True)
class Layer:
    """The output of one dense layer."""

    sums: Weights  # [units], with the bias
    values: Weights  # [units]


@dataclass(frozen=True)
class Pass:
    """All values of a forward pass."""

    tokens: npt.NDArray[np.int32]  # [sequence_length]
    pooled: tuple[Pooled, ...]
    features: Weights  # [filters of all banks]: the pooled values, which the dense layers read
    layers: tuple[Layer, ...]

    @property
    def positions(self) -> npt.NDArray[np.intp]:
        """The start of each filter's window in `tokens`, intp [filters of all banks]; negative in the padding."""
        return np.concatenate([pooled.positions - pooled.bank.padding[0] for pooled in self.pooled])

    @property
    def logits(self) -> Weights:
        """The logits, float32: [labels], or [1], for the second label, of a model with a single sigmoid."""
        return self.layers[-1].values


def forward(network: Network, tokens: npt.NDArray[np.int32]) -> Pass:
    """Run the network on a padded row of ids, int32 [sequence_length], which must be as long as the widest filter."""
    pooled = tuple(_pool(bank, tables, tokens) for bank, tables in zip(network.banks, network.tables, strict=True))
    features = value = np.concatenate([each.values for each in pooled])
    layers = []
    for dense in network.head:
        sums = dense.sums(value)
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

    def sums_at(windows: Positions) -> Weights:
        sums: Weights = tables.values(entries[windows, np.arange(len(bank.bias))]) + bank.bias
        return sums

    def mean(sums: Weights) -> Weights:
        activated = apply(bank.activations, sums)
        means: Weights = activated[0] if len(activated) == 1 else activated.mean(axis=0)
        return means

    windows = bank.windows(entries, lambda windows: mean(sums_at(windows)))
    sums = sums_at(windows)
    return Pooled(bank, tables, tokens, entries, windows, sums, mean(sums))
