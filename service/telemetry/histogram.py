"""A distribution that all workers count together."""

from __future__ import annotations

from bisect import bisect_left
from typing import TypeAlias

#: A worker's row of the counters: float64 [slots], see `counters.Counters.row`.
Row: TypeAlias = "memoryview[float]"


class Histogram:
    """How many numbers lie up to each of some ascending bounds, and their sum, in the slots from `first` on."""

    def __init__(self, first: int, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._first = first
        self.sum_slot = first + len(bounds) + 1

    @staticmethod
    def slots(bounds: tuple[float, ...]) -> int:
        """A slot for each bound, for what is above all of them, and for the sum."""
        return len(bounds) + 2

    @property
    def cells(self) -> slice:
        """The slots that count the numbers up to each bound and above the one before; the last has those above all."""
        return slice(self._first, self.sum_slot)

    def observe(self, row: Row, value: float) -> None:
        """Add a number to a worker's row."""
        row[self._first + bisect_left(self.bounds, value)] += 1
        row[self.sum_slot] += value
