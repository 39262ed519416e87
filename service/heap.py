"""Memory that large requests leave behind in the C library's heap, and its return to the kernel.

A batch of a thousand texts is a thousand small blocks. Freed, they lie between others and glibc keeps the pages they
were on: a worker that had 463 MB of them in use keeps about as much, though it could do with 109.
"""

from __future__ import annotations

import ctypes

#: Characters of large requests after which it is worth to look for pages to return, a matter of milliseconds.
_WORTH = 4 * 1024 * 1024

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others have no need of it, or no means


class Heap:
    """The heap of this process, as large requests use it. Belongs to one event loop."""

    def __init__(self) -> None:
        self._used = 0

    def used(self, characters: int) -> None:
        """A large request of so many characters, or ids, is done with."""
        self._used += characters

    def tidy(self) -> None:
        """Return what is free, if there may be much; to be called now and then."""
        if self._used >= _WORTH and _trim is not None:
            self._used = 0
            _trim(0)
