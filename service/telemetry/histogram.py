"""A histogram in shared memory."""

from __future__ import annotations

from bisect import bisect_left
from typing import TypeAlias

#: The row of a worker in the counters, float64 [slots], see `counters.Counters.row`.
Row: TypeAlias = "memoryview[float]"


class Histogram:
    """Counts numbers by ascending upper bounds, and sums them, in the slots from `first` on."""

    def __init__(self, first: int, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._first = first
        self.sum_slot = first + len(bounds) + 1
        #: The slots that count the numbers up to each bound and above the one before; the last counts all others.
        self.cells = slice(first, self.sum_slot)

    def observe(self, row: Row, value: float, times: int = 1) -> None:
        """Add a number, `times` times, in the row of a worker."""
        row[self._first + bisect_left(self.bounds, value)] += times
        row[self.sum_slot] += value * times
