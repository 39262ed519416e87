"""A distribution that all workers count together."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import numpy.typing as npt

from service.counters import Counters


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

    def exposition(self, totals: npt.NDArray[np.float64], unit: float = 1.0) -> tuple[list[tuple[str, float]], float]:
        """Prometheus' cumulative buckets and the sum, with bounds and sum times `unit`."""
        cumulated = totals[self._first : self._sum].cumsum().tolist()
        bounds = [f"{bound * unit:.12g}" for bound in self._bounds]
        return list(zip([*bounds, "+Inf"], cumulated, strict=True)), float(totals[self._sum]) * unit
