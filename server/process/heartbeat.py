"""Shows that an event loop makes progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Seconds between two heartbeats of an event loop that is not busy.
SECONDS = 0.5


class Heartbeat:
    """Calls `beat` in the first turn of the event loop after every half second.

    A timer of the event loop needs one turn, however long it takes. A task that sleeps, or a count of ticks, needs
    several, so that a worker whose turns take a second would seem to hang.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, beat: Callable[[], object]) -> None:
        self._loop = loop
        self._beat = beat
        self._next()

    def stop(self) -> None:
        """Stop."""
        self._timer.cancel()

    def _next(self) -> None:
        self._beat()
        self._timer = self._loop.call_later(SECONDS, self._next)
