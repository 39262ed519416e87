"""Counters in memory that all workers share.

Each worker adds to its own row, so adding needs no lock, and the counts of a dead worker remain. Any process can
sum the rows.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

_BYTES = 8


class Counters:
    """A table of zeros, float64 [workers, slots]. Create it before the fork. Integers are exact up to 2^53."""

    def __init__(self, workers: int, slots: int) -> None:
        memory = mmap.mmap(-1, workers * slots * _BYTES)
        self._table = np.frombuffer(memory, np.float64).reshape(workers, slots)
        self._rows = [
            memoryview(memory)[n * slots * _BYTES : (n + 1) * slots * _BYTES].cast("d") for n in range(workers)
        ]
        self.row = self._rows[0]

    def use(self, worker: int) -> None:
        """Use the row of a worker from now on. No other process may write to it."""
        self.row = self._rows[worker]

    def clear(self, first: int, count: int) -> None:
        """Set `count` slots from `first` on to zero for all workers. No worker may be adding to them."""
        self._table[:, first : first + count] = 0

    def totals(self) -> npt.NDArray[np.float64]:
        """Return every slot summed over the workers, float64 [slots]."""
        totals: npt.NDArray[np.float64] = self._table.sum(axis=0)
        return totals

    def total(self, slots: int | slice) -> int:
        """Return the sum of one or several slots over the workers, as an integer."""
        return int(self._table[:, slots].sum())

    def largest(self, slot: int) -> int:
        """Return the largest value of a slot among the workers, as an integer."""
        return int(self._table[:, slot].max())


class Directory:
    """Assigns numbers to names, consistently in all processes. Create it before the fork.

    A name has at most `LENGTH` bytes of UTF-8.
    """

    LENGTH = 2040

    #: Stored before every name: the position, from 1, in the sequence in which names got numbers.
    _AGE = struct.Struct("<Q")

    def __init__(self, capacity: int, spare: int) -> None:
        """Create a directory for `capacity` names, of which up to `spare` can be free, that is, no longer in use."""
        self._capacity = capacity
        self._spare = spare
        self._entry = self._AGE.size + self.LENGTH
        # The kernel releases a file lock if its holder dies. The file is in memory.
        self._file = os.memfd_create("directory")
        os.ftruncate(self._file, capacity * self._entry)
        self._memory = mmap.mmap(self._file, capacity * self._entry)

    def index(self, name: str, free: Callable[[str], bool], clear: Callable[[int], None]) -> int:
        """Return the number of a name.

        A new name gets the next number. If too many names are `free`, or no number is left, it gets the number of the
        oldest free name, which is passed to `clear` before any process sees the new name. Raises `IndexError` if no
        number is left.
        """
        wanted = name.encode()
        if len(wanted) > self.LENGTH:
            raise IndexError(f"{name!r} is too long")
        with self._locked():
            entries = self._entries()
            for number, (_, entry) in enumerate(entries):
                if entry == wanted:
                    return number
            number = len(entries)
            past = [(age, number) for number, (age, entry) in enumerate(entries) if free(entry.decode())]
            if past and (len(past) >= self._spare or number == self._capacity):
                _, number = min(past)
                clear(number)
            elif number == self._capacity:
                raise IndexError("no place is left")
            age = 1 + max((age for age, _ in entries), default=0)
            start = number * self._entry
            self._memory[start : start + self._entry] = self._AGE.pack(age) + wanted.ljust(self.LENGTH, b"\0")
            return number

    def __iter__(self) -> Iterator[str]:
        with self._locked():
            entries = self._entries()
        return iter([entry.decode() for _, entry in entries])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _entries(self) -> list[tuple[int, bytes]]:
        """Return the age and the name of every assigned number."""
        entries = []
        for start in range(0, self._capacity * self._entry, self._entry):
            entry = self._memory[start : start + self._entry]
            if not any(entry[: self._AGE.size]):
                break
            entries.append((self._AGE.unpack_from(entry)[0], entry[self._AGE.size :].rstrip(b"\0")))
        return entries
