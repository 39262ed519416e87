"""The look-up tables of a folded graph, in float32 or in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.layers import Weights

#: Table entries and sums of entries, float32 or uint8.
Entries = npt.NDArray[Any]


@dataclass(frozen=True)
class Tables:
    """The parts that each word adds at each tap of the filters of one bank."""

    entries: Entries  # [width, vocabulary, filters]

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
