"""A network of the Conv1D family as plain arrays, read from a graph or from a Keras model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sentiment_conv1d.model.explaining.tables import QuantizedTables, Tables
from sentiment_conv1d.model.layers import Bank, Head, Weights


@dataclass(frozen=True)
class Network:
    """An embedding, filters, global pooling and dense layers. The last dense layer computes the logits."""

    embedding: Weights | None  # [vocabulary, embedding]; with zero padding, the last row is the padding
    banks: tuple[Bank, ...]
    head: Head
    final: str  # turns the logits into probabilities: Sigmoid or Softmax
    quantized: tuple[QuantizedTables, ...] = ()  # one for every bank of an 8-bit graph, which has no embedding

    @cached_property
    def tables(self) -> tuple[Tables, ...]:
        """The tables of every bank: the part that each word adds at each tap of each filter.

        The session of a float32 graph contains the same products. This computes them for the first explanation, so a
        service that explains nothing spends no memory on them.
        """
        if self.embedding is None:
            return self.quantized
        return tuple(Tables(self.embedding @ bank.kernel) for bank in self.banks)

    @property
    def averages(self) -> bool:
        """Whether a filter is averaged over the text, including its padding."""
        return any(bank.reads_padding for bank in self.banks)

    def locate(self, number: int) -> tuple[Bank, int]:
        """Return the bank of a filter and its index among the filters of its width. `number` counts over all banks."""
        for place, bank in enumerate(self.banks):  # noqa: B007 - both are used after the loop
            if number < len(bank.bias):
                break
            number -= len(bank.bias)
        return bank, number + sum(len(each.bias) for each in self.banks[:place] if each.width == bank.width)
