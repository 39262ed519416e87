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

    A connection reads at once if there is time in this turn. One that has more to read than its share goes on behind
    those that have just received something, of which most have little.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._new: deque[Reader] = deque()  # those that came when there was no time
        self._unfinished: deque[Reader] = deque()
        self._until: float | None = None  # of this turn, once somebody has read in it
        self._context = copy_context()  # so that calls do not begin in that of another one

    def read(self, reader: Reader) -> bool:
        """Have a connection read now or in a later turn; returns whether it has read all there was."""
        now = perf_counter()
        until = self._begin(now) if self._until is None else self._until
        if now >= until:
            self._new.append(reader)
            return False
        return not self._give(reader, now, until)

    def _begin(self, now: float) -> float:
        self._until = now + _TURN_SECONDS
        self._loop.call_soon(self._next_turn, context=self._context)
        return self._until

    def _next_turn(self) -> None:
        self._until = None
        if not (self._new or self._unfinished):
            return
        until = self._begin(perf_counter())
        if self._unfinished:  # one in any case, so that it comes to its end
            self._give(self._unfinished.popleft(), perf_counter(), until)
        while (now := perf_counter()) < until and (waiting := self._new or self._unfinished):
            self._give(waiting.popleft(), now, until)

    def _give(self, reader: Reader, now: float, until: float) -> bool:
        """Let a connection have its share; returns whether it has more to read."""
        more = reader.read(min(until, now + _SHARE_SECONDS))
        if more:
            self._unfinished.append(reader)
        return more
