"""A network of the Conv1D family as plain arrays, read from a graph or from a Keras model, and its look-up tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.configuration import BaseConfiguration, Convolution
from sentiment_conv1d.artifact.layers import Bank, Dense, Head, Weights

#: Table entries and sums of entries, float32 or uint8.
Entries = npt.NDArray[Any]


@dataclass(frozen=True)
class Tables:
    """The parts that each word adds at each tap of the filters of one bank."""

    entries: Entries  # [width, vocabulary, filters]

    @property
    def filters(self) -> int:
        """The number of filters."""
        return int(self.entries.shape[2])

    def kernel(self) -> Weights:
        """Return a kernel [width, width, filters] that selects number k of a word at tap k.

        A network without an embedding reads one number of a word for each tap, from the table.
        """
        width = len(self.entries)
        return np.broadcast_to(np.eye(width, dtype=np.float32)[:, :, np.newaxis], (width, width, self.filters))

    def values(self, sums: Entries) -> Weights:
        """Convert sums of entries [..., filters] to values [..., filters]."""
        return sums

    def parts(self, words: npt.NDArray[np.integer], filters: npt.NDArray[np.integer]) -> Weights:
        """Return the parts [rows, width] that `words` [rows, width] add to the values of `filters` [rows]."""
        parts: Weights = self.entries[np.arange(len(self.entries)), words, filters[:, np.newaxis]]
        return parts


@dataclass(frozen=True)
class QuantizedTables(Tables):
    """The tables of an 8-bit graph: an entry means `entry * step + lowest`, and sums of entries fit into uint8."""

    step: Weights  # [filters]
    lowest: Weights  # [width, filters]

    def values(self, sums: Entries) -> Weights:
        values: Weights = sums * self.step + self.lowest.sum(axis=0)
        return values

    def parts(self, words: npt.NDArray[np.integer], filters: npt.NDArray[np.integer]) -> Weights:
        return super().parts(words, filters) * self.step[filters, np.newaxis] + self.lowest[:, filters].T


@dataclass(frozen=True)
class Network:
    """An embedding, filters, global pooling and dense layers. The last dense layer computes the logits."""

    embedding: Weights | None  # [vocabulary, embedding]; with zero padding, the last row is the padding
    banks: tuple[Bank, ...]
    head: Head
    final: str  # turns the logits into probabilities: Sigmoid or Softmax
    stored: tuple[Tables, ...] = ()  # one for every bank of a network that has no embedding

    @cached_property
    def tables(self) -> tuple[Tables, ...]:
        """The tables of every bank: the part that each word adds at each tap of each filter.

        The session of a float32 graph contains the same products. This computes them for the first explanation, so a
        service that explains nothing spends no memory on them.
        """
        if self.embedding is None:
            return self.stored
        return tuple(Tables(self.embedding @ bank.kernel) for bank in self.banks)

    @property
    def averages(self) -> bool:
        """Whether a filter is averaged over the text, including its padding."""
        return any(bank.pooling == "mean" for bank in self.banks)

    def locate(self, number: int) -> tuple[Bank, int]:
        """Return the bank of a filter and its index among the filters of its width. `number` counts over all banks."""
        for place, bank in enumerate(self.banks):  # noqa: B007 - both are used after the loop
            if number < len(bank.bias):
                break
            number -= len(bank.bias)
        return bank, number + sum(len(each.bias) for each in self.banks[:place] if each.width == bank.width)


def from_keras(model: Any, configuration: BaseConfiguration) -> Network:
    """Return the weights of a Keras model that `model.training.network` built.

    Keras raises `ValueError` if the model does not have one of the layers.
    """

    def weights(layer: str) -> tuple[Weights, Weights]:
        kernel, bias = model.get_layer(layer).get_weights()
        return np.asarray(kernel, np.float32), np.asarray(bias, np.float32)

    hidden = [Dense(*weights("hidden"), ("Relu",))] if configuration.hidden_width else []
    head = (*hidden, Dense(*weights("probabilities"), ()))
    final = configuration.activation.capitalize()
    activations: dict[str, tuple[str, ...]] = {"max": ("Relu",), "mean": ()}
    if "embedding" in {layer.name for layer in model.layers}:
        banks = tuple(
            Bank(*weights(bank.name), activations[bank.pooling], pooling=bank.pooling)
            for bank in configuration.convolutions
        )
        (embedding,) = model.get_layer("embedding").get_weights()
        return Network(np.asarray(embedding, np.float32), banks, head, final)
    tables = tuple(_read_tables(model, bank) for bank in configuration.convolutions)
    banks = tuple(
        Bank(each.kernel(), np.zeros(each.filters, np.float32), activations[bank.pooling], pooling=bank.pooling)
        for each, bank in zip(tables, configuration.convolutions, strict=True)
    )
    return Network(None, banks, head, final, tables)


def _read_tables(model: Any, bank: Convolution) -> Tables:
    rows = [model.get_layer(bank.table_name(place)).get_weights()[0] for place in range(bank.width)]
    return Tables(np.stack(rows).astype(np.float32))
