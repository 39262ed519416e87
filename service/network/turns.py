"""Shares each turn of the event loop among the connections that have received bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import copy_context
from time import perf_counter
from typing import Protocol

#: Seconds of parsing per turn of the event loop.
_TURN_SECONDS = 0.002

#: Seconds of these per connection, by queue: its first share, which is enough for some calls, with access and without,
#: and every later share.
_SHARES = (0.0001, 0.0001, 0.001)
_ADMITTED, _UNKNOWN, _LATER = range(3)

#: A connection that has received more bytes waits for its second share at once.
_FEW_BYTES = 4096


class Reader(Protocol):
    """A connection that has received bytes.

    `admitted` says whether an earlier request on it had access, which open routes do not need.
    """

    admitted: bool

    def read(self, until: float) -> bool:
        """Parse bytes until `until`, a time of `perf_counter`. Returns whether there may be more."""


class Turns:
    """Bounds the time that parsing takes per turn, whatever arrives and however many connections send it.

    A connection is read at once if this turn has time left. A connection that exceeds its share, or has received many
    bytes, waits behind the others, so that a caller with a single request does not wait for everything that other
    connections have sent. Callers with access alternate with all others, so that they do not wait for thousands of
    strangers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: tuple[deque[Reader], ...] = tuple(deque() for _ in _SHARES)
        self._until: float | None = None  # the end of this turn's time, once a connection was read in it
        self._context = copy_context()  # so that a call does not start in the context of another call

    def read(self, reader: Reader, received: int) -> bool:
        """Let a connection parse the `received` bytes, now or in a later turn.

        Returns whether it has parsed all of them.
        """
        now = perf_counter()
        until = self._begin(now) if self._until is None else self._until
        first = _ADMITTED if reader.admitted else _UNKNOWN
        queue = first if received <= _FEW_BYTES else _LATER
        if now >= until:
            self._waiting[queue].append(reader)
            return False
        return not self._give(queue, reader, until)

    def _begin(self, now: float) -> float:
        self._until = now + _TURN_SECONDS
        self._loop.call_soon(self._next_turn, context=self._context)
        return self._until

    def _next_turn(self) -> None:
        self._until = None
        if not any(self._waiting):
            return
        until = self._begin(perf_counter())
        first, later = self._waiting[:_LATER], self._waiting[_LATER]
        while True:  # at least once, so that every connection makes progress, however long the others take
            for queue, readers in enumerate(first):
                if readers:
                    self._give(queue, readers.popleft(), until)
            if perf_counter() >= until or not any(first):
                break
        if later:
            self._give(_LATER, later.popleft(), until)
        while later and perf_counter() < until:
            self._give(_LATER, later.popleft(), until)

    def _give(self, queue: int, reader: Reader, until: float) -> bool:
        """Give a connection one share. Returns whether it has more to read."""
        more = reader.read(min(until, perf_counter() + _SHARES[queue]))
        if more:
            self._waiting[_LATER].append(reader)
        return more
