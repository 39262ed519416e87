"""Returns freed memory to the kernel.

A batch of a thousand texts, or a thousand connections, is thousands of small blocks. When they are freed, other blocks
lie between them, and glibc keeps their pages: a worker that used 463 MB keeps about as much, although it needs 109 MB.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

#: Pages are returned, which takes milliseconds, if the resident bytes exceed those of an idle worker by this much.
_EXCESS_BYTES = 16 * 1024 * 1024

#: Seconds between two trims.
_SECONDS = 3.0

#: Seconds until the next garbage collection for each second that the last one took.
_COLLECTION_SECONDS = 1000.0

_PAGE = os.sysconf("SC_PAGE_SIZE")

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it


def resident_bytes(pid: int | str = "self") -> int:
    """Return the resident memory of a process, by default of the current one. See proc_pid_statm(5)."""
    # The proportional set size of `smaps_rollup` would take milliseconds per process.
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


class Heap:
    """The heap of a worker. Create it while the worker is idle."""

    def __init__(self, resident: Callable[[], int] = resident_bytes) -> None:
        self._resident = resident
        self._idle = resident()
        self._trimmed = self._collects_at = 0.0

    def trim(self, now: float, *, idle: bool) -> None:
        """Return free pages if there may be many. Called about once a second with the event loop's time.

        In an idle worker it first collects garbage cycles. Python's own collector waits until the number of objects has
        grown by a quarter since its last full collection, which takes a long time after a peak. With thousands of calls
        that wait, a collection takes a tenth of a second.
        """
        if _trim is None or now - self._trimmed < _SECONDS or self._resident() - self._idle < _EXCESS_BYTES:
            return
        self._trimmed = now
        if idle and now >= self._collects_at:
            began = perf_counter()
            gc.collect()
            self._collects_at = now + _COLLECTION_SECONDS * (perf_counter() - began)
        _trim(0)
