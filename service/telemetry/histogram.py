"""A distribution that all workers count together."""

from __future__ import annotations

from bisect import bisect_left

from sentiment_conv1d.service.telemetry.counters import Counters


class Histogram:
    """Numbers up to each of some ascending bounds, and their sum; takes `slots(bounds)` slots from `first` on."""

    def __init__(self, counters: Counters, first: int, bounds: tuple[float, ...]) -> None:
        self._counters = counters
        self._first = first
        self._sum = first + len(bounds) + 1
        self._bounds = bounds

    @staticmethod
    def slots(bounds: tuple[float, ...]) -> int:
        """A slot for each bound, for what is above all of them, and for the sum."""
        return len(bounds) + 2

    def observe(self, value: float) -> None:
        """One more number."""
        row = self._counters.row
        row[self._first + bisect_left(self._bounds, value)] += 1
        row[self._sum] += value

    @property
    def sum(self) -> float:
        """Of all numbers."""
        return self._counters.total(self._sum)

    @property
    def bounds(self) -> tuple[float, ...]:
        """Ascending."""
        return self._bounds

    @property
    def cells(self) -> slice:
        """The slots of how many numbers there were up to each bound and above the one before; the last above all."""
        return slice(self._first, self._sum)

    @property
    def sum_slot(self) -> int:
        """The slot of the sum."""
        return self._sum
