"""One text's way through the network, with everything that is computed on it.

For one row of ids x [time], with E the embedding and W the kernel of a bank of width w:

    feature map   F[t, f] = sum over k < w of  E[x[t + k]] . W[k, :, f]        [time - w + 1, filters]
    position      p[f]    = argmax over t of F[t, f], the first where several are as large
    sum           z[f]    = F[p[f], f] + b[f]
    pooled        a[f]    = activation(z[f])

The activations of the family never fall, so the maximum before them is the maximum after them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.layers import ACTIVATIONS, Bank, Weights
from sentiment_conv1d.service.inference.explaining.network import Network


@dataclass(frozen=True)
class Pooled:
    """What one bank makes of a text."""

    bank: Bank
    table: Weights  # [width, vocabulary, filters]: what a word adds under a tap
    feature_map: Weights  # [time - width + 1, filters], before bias and activation
    positions: npt.NDArray[np.intp]  # [filters]
    sums: Weights  # [filters], with the bias
    values: Weights  # [filters]


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
        """[filters of all banks]: where each is highest."""
        return np.concatenate([pooled.positions for pooled in self.pooled])

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


def apply(activations: tuple[str, ...], value: Weights) -> Weights:
    """The activations one after the other, by their ONNX operators."""
    for activation in activations:
        value = ACTIVATIONS[activation](value)
    return value


def _pool(bank: Bank, table: Weights, tokens: npt.NDArray[np.int32]) -> Pooled:
    count = len(tokens) - bank.width + 1
    feature_map: Weights = table[0].take(tokens[:count], axis=0)
    for tap in range(1, bank.width):
        feature_map += table[tap].take(tokens[tap : tap + count], axis=0)
    positions = feature_map.argmax(axis=0)
    sums = feature_map[positions, np.arange(len(positions))] + bank.bias
    return Pooled(bank, table, feature_map, positions, sums, apply(bank.activations, sums))
