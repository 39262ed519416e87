"""Memory that has been freed, and its return to the kernel.

A batch of a thousand texts, or a thousand connections, is thousands of small blocks. Freed, they lie between others and
glibc keeps the pages that they were on: a worker that had 463 MB of them in use keeps about as much, and needs 109.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

#: Resident bytes above those of an idle worker from which pages are returned, which takes milliseconds.
_EXCESS_BYTES = 16 * 1024 * 1024

#: Seconds between two attempts.
_SECONDS = 3.0

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others have no need of it, or no means


def resident_bytes() -> int:
    """The resident memory of this process; proc_pid_statm(5)."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE_BYTES


class Heap:
    """The heap of a worker, made when it is idle."""

    def __init__(self, resident: Callable[[], int] = resident_bytes) -> None:
        self._resident = resident
        self._idle = resident()
        self._trimmed = 0.0

    def trim(self, now: float, *, idle: bool) -> None:
        """Return free pages if there may be many. Called every second or so with the event loop's time.

        In an idle worker the garbage in cycles is freed first. Python's own collector waits until the number of objects
        has grown by a quarter since its last full collection, which after a peak takes a long time.
        """
        if _trim is None or now - self._trimmed < _SECONDS or self._resident() - self._idle < _EXCESS_BYTES:
            return
        self._trimmed = now
        if idle:
            gc.collect()
        _trim(0)
