"""What waits in memory for callers who are slow."""

from __future__ import annotations

from service.errors import Overloaded


class Buffers:
    """Bytes that wait in memory for slow callers: unfinished requests, and large answers that are being read."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    def hold(self, count: int) -> int:
        """Count so many more; returns the number. Raises `Overloaded` beyond the limit."""
        if self._held + count > self._limit:
            raise Overloaded(f"slow callers take up the {self._limit} bytes that there are for them")
        self._held += count
        return count

    def release(self, count: int) -> None:
        """Count so many less."""
        self._held -= count
