"""The look-up tables of a folded graph, of float32 or of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.layers import Bank, Weights

#: Table entries and sums of them, float32 or uint8.
Entries = npt.NDArray[Any]


@dataclass(frozen=True)
class Tables:
    """What each word adds under each tap of the filters of one width: `entries * step + lowest`.

    The entries of an 8-bit graph are uint8, whose sums do not overflow. Those of a float32 graph are the values
    themselves.
    """

    entries: Sequence[Entries]  # of each tap, [vocabulary, filters]
    step: Weights  # [filters]
    lowest: Weights  # [width, filters]

    @classmethod
    def of(cls, embedding: Weights, bank: Bank) -> Tables:
        """Those of a float32 graph: the products of the embedding [vocabulary, embedding] and each tap."""
        width, _, filters = bank.kernel.shape
        step, lowest = np.ones(filters, np.float32), np.zeros((width, filters), np.float32)
        return cls([embedding @ tap for tap in bank.kernel], step, lowest)

    def values(self, sums: Entries) -> Weights:
        """The values [..., filters] of filters whose entries add up to `sums` [..., filters]."""
        values: Weights = sums * self.step + self.lowest.sum(axis=0)
        return values

    def parts(self, words: npt.NDArray[np.integer], filters: npt.NDArray[np.integer]) -> Weights:
        """What each word adds to the value of a filter, [rows, width]: `words` [rows, width], `filters` [rows]."""
        looked_up = [entries[words[:, tap], filters] for tap, entries in enumerate(self.entries)]
        parts: Weights = np.stack(looked_up, axis=1) * self.step[filters, np.newaxis] + self.lowest[:, filters].T
        return parts
