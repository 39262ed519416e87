"""Shares each turn of the event loop among the connections that have something to be read."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import copy_context
from time import perf_counter
from typing import Protocol

#: Seconds of one turn of the event loop in which frames are read, and of those for one connection.
_TURN_SECONDS = 0.004
_SHARE_SECONDS = 0.001


class Reader(Protocol):
    """A connection that has received bytes."""

    def read(self, until: float) -> bool:
        """Read frames until that time of `perf_counter`; returns whether there may be more."""


class Turns:
    """Bounds the time that frames take in one turn, whatever they are and however many connections send them.

    A connection reads at once as long as there is time in this turn and no other one waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Reader] = deque()
        self._until: float | None = None  # of this turn, once somebody has read in it
        self._context = copy_context()  # so that calls do not begin in that of another one

    def read(self, reader: Reader) -> bool:
        """Have a connection read now or in its turn; returns whether it has read all there was."""
        now = perf_counter()
        if self._until is None:
            self._until = now + _TURN_SECONDS
            self._loop.call_soon(self._next_turn, context=self._context)
        if not self._waiting and now < self._until and not reader.read(min(self._until, now + _SHARE_SECONDS)):
            return True
        self._waiting.append(reader)
        return False

    def _next_turn(self) -> None:
        self._until = None
        if not self._waiting:
            return
        now = perf_counter()
        self._until = now + _TURN_SECONDS
        while self._waiting and now < self._until:
            reader = self._waiting.popleft()
            if reader.read(min(self._until, now + _SHARE_SECONDS)):
                self._waiting.append(reader)
            now = perf_counter()
        self._loop.call_soon(self._next_turn, context=self._context)
