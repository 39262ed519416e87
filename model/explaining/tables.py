"""The look-up tables of a folded graph, of float32 or of 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.layers import Weights

#: Table entries and sums of them, float32 or uint8.
Entries = npt.NDArray[Any]


@dataclass(frozen=True)
class Tables:
    """What each word adds under each tap of the filters of one width."""

    entries: Entries  # [width, vocabulary, filters]

    def values(self, sums: Entries) -> Weights:
        """The values [..., filters] of filters whose entries add up to `sums` [..., filters]."""
        return sums

    def parts(self, words: npt.NDArray[np.integer], filters: npt.NDArray[np.integer]) -> Weights:
        """What each word adds to the value of a filter, [rows, width]: `words` [rows, width], `filters` [rows]."""
        parts: Weights = self.entries[np.arange(len(self.entries)), words, filters[:, np.newaxis]]
        return parts


@dataclass(frozen=True)
class QuantizedTables(Tables):
    """The tables of an 8-bit graph: an entry stands for `entry * step + lowest`, and sums of entries fit into uint8."""

    step: Weights  # [filters]
    lowest: Weights  # [width, filters]

    def values(self, sums: Entries) -> Weights:
        values: Weights = sums * self.step + self.lowest.sum(axis=0)
        return values

    def parts(self, words: npt.NDArray[np.integer], filters: npt.NDArray[np.integer]) -> Weights:
        return super().parts(words, filters) * self.step[filters, np.newaxis] + self.lowest[:, filters].T
