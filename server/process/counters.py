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
    """Assigns numbers to keys, each with a content, consistently in all processes. Create it before the fork.

    A key has at most `KEY` bytes of UTF-8, and a content `LENGTH`, without NUL.
    """

    KEY, LENGTH = 100, 20_000

    #: `age` is the position, from 1, in the sequence in which entries were written, or 0 if there is none.
    _ENTRY = np.dtype([("age", np.int64), ("key", f"S{KEY}"), ("content", f"S{LENGTH}")])

    def __init__(self, capacity: int, spare: int) -> None:
        """Create a directory for `capacity` keys, of which up to `spare` can be free, that is, no longer in use."""
        self._spare = spare
        self._entries = np.frombuffer(mmap.mmap(-1, capacity * self._ENTRY.itemsize), self._ENTRY)
        self._file = os.memfd_create("directory")  # the kernel releases a file lock if its holder dies

    def index(self, key: str, content: str, free: Callable[[str], bool], clear: Callable[[int], None]) -> int:
        """Return the number of a key, which now has this content.

        A new key gets the next number or, if too many keys are `free` or all numbers are assigned, that of the oldest
        free key. If another key or content had the number, `clear` gets it before any process sees the new one. Raises
        `IndexError` if all numbers are assigned and no key is free, or if the key or the content is too long.
        """
        encoded_key, encoded = key.encode(), content.encode()
        if len(encoded_key) > self.KEY or len(encoded) > self.LENGTH:
            raise IndexError(f"{key!r} or its content is too long")
        with self._locked():
            entries = self._assigned()
            if (key, content) in entries:
                return entries.index((key, content))
            keys = [each for each, _ in entries]
            number, ages = len(keys), self._entries["age"]
            past = [number for number, other in enumerate(keys) if free(other)]
            if key in keys:
                clear(number := keys.index(key))
            elif past and (len(past) >= self._spare or number == len(ages)):
                clear(number := min(past, key=ages.__getitem__))
            elif number == len(ages):
                raise IndexError("no place is left")
            self._entries["key"][number], self._entries["content"][number] = encoded_key, encoded
            ages[number] = ages.max() + 1  # last, so that a process killed here leaves no entry
            return number

    def __iter__(self) -> Iterator[tuple[str, str]]:
        with self._locked():
            return iter(self._assigned())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _assigned(self) -> list[tuple[str, str]]:
        """Return the keys and contents by their numbers."""
        assigned = self._entries[self._entries["age"] > 0]
        return [(each["key"].decode(), each["content"].decode()) for each in assigned]
