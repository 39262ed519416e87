"""Numbers that every worker process adds to and any of them can sum.

They lie in memory that the processes share after the fork, one row for each worker, so adding needs no lock and the
numbers of a worker that died are kept.
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
    """A table of float64, [workers, slots], of zeros; made before the fork. Whole numbers are exact up to 2^53."""

    def __init__(self, workers: int, slots: int) -> None:
        memory = mmap.mmap(-1, workers * slots * _BYTES)
        self._table = np.frombuffer(memory, np.float64).reshape(workers, slots)
        self._rows = [
            memoryview(memory)[n * slots * _BYTES : (n + 1) * slots * _BYTES].cast("d") for n in range(workers)
        ]
        self.row = self._rows[0]

    def use(self, worker: int) -> None:
        """Add to the row of that worker from now on; no other process may write to it."""
        self.row = self._rows[worker]

    def clear(self, first: int, count: int) -> None:
        """Set so many slots from `first` on to zero for all workers, none of which may be adding to them."""
        self._table[:, first : first + count] = 0

    def totals(self) -> npt.NDArray[np.float64]:
        """Every slot summed over the workers, float64 [slots]."""
        totals: npt.NDArray[np.float64] = self._table.sum(axis=0)
        return totals

    def total(self, slots: int | slice) -> int:
        """A slot, or several, summed over the workers, as a whole number."""
        return int(self._table[:, slots].sum())

    def largest(self, slot: int) -> int:
        """The largest value of a slot among the workers, as a whole number."""
        return int(self._table[:, slot].max())


class Directory:
    """Numbers for names, which are the same in all processes; made before the fork.

    A name is at most `LENGTH` bytes of UTF-8.
    """

    LENGTH = 2040

    #: Before every name: its place in the sequence of all that were given a number, from 1.
    _AGE = struct.Struct("<Q")

    def __init__(self, capacity: int, spare: int) -> None:
        """For `capacity` names, of which at most `spare` may be free, which are names that are no longer in use."""
        self._capacity = capacity
        self._spare = spare
        self._entry = self._AGE.size + self.LENGTH
        # A lock on a file is given back by the kernel if its holder dies; the file lies in memory.
        self._file = os.memfd_create("directory")
        os.ftruncate(self._file, capacity * self._entry)
        self._memory = mmap.mmap(self._file, capacity * self._entry)

    def index(self, name: str, free: Callable[[str], bool], clear: Callable[[int], None]) -> int:
        """The number of a name. A new name gets the next number. If too many names are `free`, or no other number is
        left, it gets the number of the oldest free one, which is passed to `clear` before any process sees the name.

        Raises `IndexError` if no number is left.
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
        """The age and name of every number that is given."""
        entries = []
        for start in range(0, self._capacity * self._entry, self._entry):
            entry = self._memory[start : start + self._entry]
            if not any(entry[: self._AGE.size]):
                break
            entries.append((self._AGE.unpack_from(entry)[0], entry[self._AGE.size :].rstrip(b"\0")))
        return entries
