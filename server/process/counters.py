"""Counters in memory that all workers share.

Each worker adds to its own row, so adding needs no lock, and the counts of a dead worker remain. Any process can
sum the rows.
"""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt


class Counters:
    """A table of zeros, float64 [workers, slots]. Create it before the fork. Integers are exact up to 2^53.

    `row` is the row of this worker, to which it adds. It is a memoryview, because adding one number to an array takes
    longer.
    """

    def __init__(self, workers: int, slots: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, workers * slots * 8)).cast("d")
        self.table: npt.NDArray[np.float64] = np.asarray(self._cells).reshape(workers, slots)
        self.choose_row(0)

    def choose_row(self, worker: int) -> None:
        """Add to the row of a worker from now on. No other process may write to it."""
        slots = self.table.shape[1]
        self.row = self._cells[worker * slots : (worker + 1) * slots]
