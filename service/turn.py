"""One turn of the event loop: how many requests it brought, and what can wait until they have their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Turns:
    """The turns of one event loop that brought requests.

    A request that is the only one gains nothing by waiting for others. Whether more are about to be read nobody knows
    before they are, so the turn before tells: those who wait for an answer before they ask again come as they came.
    """

    def __init__(self) -> None:
        self._came = 0
        self._before = 0
        self._left: list[Callable[[], None]] = []
        self._ends = False

    def enter(self) -> bool:
        """A request came. Returns whether it seems to be the only one of its turn."""
        self._came += 1
        if not self._ends:
            self._ends = True
            asyncio.get_running_loop().call_soon(self._end)
        return self._came == 1 and self._before <= 1

    def leave(self, work: Callable[[], None]) -> None:
        """Do something once the answers of this turn are written."""
        self._left.append(work)
        if not self._ends:
            self._ends = True
            asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        self._ends = False
        if self._came:
            self._before, self._came = self._came, 0
        left, self._left = self._left, []
        for work in left:
            work()
