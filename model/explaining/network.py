"""A network of the Conv1D family as plain arrays, whichever form it was read from: a graph or a Keras model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sentiment_conv1d.model.explaining.tables import QuantizedTables, Tables
from sentiment_conv1d.model.layers import Bank, Dense, Weights


@dataclass(frozen=True)
class Network:
    """Embedding, filters, global pooling, dense layers; the last of them gives the logits."""

    embedding: Weights | None  # [vocabulary, embedding]; with zero padding, the last row is that of the padding
    banks: tuple[Bank, ...]
    head: tuple[Dense, ...]
    final: str  # what makes probabilities of the logits: Sigmoid or Softmax
    quantized: tuple[QuantizedTables, ...] = ()  # of every bank, if the graph is of 8 bits and has no embedding

    @cached_property
    def tables(self) -> tuple[Tables, ...]:
        """What each word adds under each tap of each filter, for every bank.

        The session of a float32 graph holds the same products. They are made for the first explanation, so that a
        service that is never asked for one has no memory for them.
        """
        if self.embedding is None:
            return self.quantized
        return tuple(Tables(self.embedding @ bank.kernel) for bank in self.banks)

    @property
    def averages(self) -> bool:
        """Whether a filter is averaged over the text, its padding included."""
        return any(bank.pooling == "mean" for bank in self.banks)

    def locate(self, number: int) -> tuple[Bank, int]:
        """The bank of the filter with a number over all banks, and its index among the filters of its width."""
        for place, bank in enumerate(self.banks):  # noqa: B007 - both are used behind the loop
            if number < len(bank.bias):
                break
            number -= len(bank.bias)
        return bank, number + sum(len(each.bias) for each in self.banks[:place] if each.width == bank.width)
