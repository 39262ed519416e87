"""Counters in memory that all workers share.

Each worker adds to its own row, so adding needs no lock, and the counts of a dead worker remain. Any process can
sum the rows.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
        self.use(0)

    def use(self, worker: int) -> None:
        """Use the row of a worker from now on. No other process may write to it."""
        slots = self.table.shape[1]
        self.row = self._cells[worker * slots : (worker + 1) * slots]


class Directory:
    """Assigns numbers to names, consistently in all processes. Create it before the fork.

    A name has at most `LENGTH` bytes of UTF-8, and no NUL.
    """

    LENGTH = 20_000

    #: `age` is the position, from 1, in the sequence in which names got numbers, or 0 if the number is not assigned.
    _ENTRY = np.dtype([("age", np.int64), ("name", f"S{LENGTH}")])

    def __init__(self, capacity: int, spare: int) -> None:
        """Create a directory for `capacity` names, of which up to `spare` can be free, that is, no longer in use."""
        self._spare = spare
        self._entries = np.frombuffer(mmap.mmap(-1, capacity * self._ENTRY.itemsize), self._ENTRY)
        self._file = os.memfd_create("directory")  # the kernel releases a file lock if its holder dies

    def index(
        self,
        name: str,
        free: Callable[[str], bool],
        clear: Callable[[int], None],
        replaced: Callable[[str], bool] = lambda name: False,
    ) -> int:
        """Return the number of a name.

        A new name gets the number of the first name for which `replaced` is true, otherwise the next number. If too
        many names are `free`, or all numbers are assigned, it gets the number of the oldest free name. If the number
        had another name, `clear` gets it before any process sees the new name. Raises `IndexError` if all numbers are
        assigned and no name is free.
        """
        encoded = name.encode()
        if len(encoded) > self.LENGTH:
            raise IndexError(f"{name!r} is too long")
        with self._locked():
            names = self._names()
            if name in names:
                return names.index(name)
            number, ages = len(names), self._entries["age"]
            past = [number for number, other in enumerate(names) if free(other)]
            if same := [number for number, other in enumerate(names) if replaced(other)]:
                clear(number := same[0])
            elif past and (len(past) >= self._spare or number == len(ages)):
                clear(number := min(past, key=ages.__getitem__))
            elif number == len(ages):
                raise IndexError("no place is left")
            self._entries["name"][number] = encoded  # before its age, so that a process killed here leaves no entry
            ages[number] = ages.max() + 1
            return number

    def __iter__(self) -> Iterator[str]:
        with self._locked():
            return iter(self._names())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _names(self) -> list[str]:
        assigned = self._entries[self._entries["age"] > 0]
        return [name.decode() for name in assigned["name"]]
