"""Numbers that every worker process adds to and any of them can sum.

They lie in memory that the processes share from their fork on, one row a worker, so that adding needs no lock and a
worker's numbers outlive it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_BYTES = 8


class Counters:
    """A table of float64, [workers, slots], zero at first; made before the fork. Whole numbers are exact to 2^53."""

    def __init__(self, workers: int, slots: int) -> None:
        memory = mmap.mmap(-1, workers * slots * _BYTES)
        self._table = np.frombuffer(memory, np.float64).reshape(workers, slots)
        self._rows = [
            memoryview(memory)[n * slots * _BYTES : (n + 1) * slots * _BYTES].cast("d") for n in range(workers)
        ]
        self.row = self._rows[0]

    def use(self, worker: int) -> None:
        """Add to the row of that worker from now on, for which its process is the only one to write."""
        self.row = self._rows[worker]

    def totals(self) -> npt.NDArray[np.float64]:
        """Every slot summed over the workers, float64 [slots]."""
        totals: npt.NDArray[np.float64] = self._table.sum(axis=0)
        return totals

    def total(self, slot: int) -> int:
        """One slot summed over the workers, as a whole number."""
        return int(self._table[:, slot].sum())

    def largest(self, slot: int) -> int:
        """The largest value of a slot among the workers, as a whole number."""
        return int(self._table[:, slot].max())


class Directory:
    """Names that the processes agree on the numbers of; made before the fork.

    A name is at most `LENGTH` bytes of UTF-8.
    """

    LENGTH = 2046

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entry = self.LENGTH + 2
        # A lock on a file is given back by the kernel if its holder dies; the file lies in memory.
        self._file = os.memfd_create("directory")
        os.ftruncate(self._file, capacity * self._entry)
        self._memory = mmap.mmap(self._file, capacity * self._entry)

    def index(self, name: str) -> int:
        """The number of a name, which is the next one if it is new. Raises `IndexError` if there is no place left."""
        wanted = name.encode()
        if len(wanted) > self.LENGTH:
            raise IndexError(f"{name!r} is too long")
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            for number in range(self._capacity):
                entry = self._read(number)
                if entry == wanted:
                    return number
                if not entry:
                    self._memory[number * self._entry : number * self._entry + len(wanted)] = wanted
                    return number
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
        raise IndexError("no place is left")

    def __iter__(self) -> Iterator[str]:
        for number in range(self._capacity):
            entry = self._read(number)
            if not entry:
                return
            yield entry.decode()

    def _read(self, number: int) -> bytes:
        return self._memory[number * self._entry : (number + 1) * self._entry].rstrip(b"\0")
