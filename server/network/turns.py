"""Shares each turn of the event loop among the connections that have received bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from time import perf_counter
from typing import Protocol

#: Seconds of work per turn of the event loop: parsing, and the requests that it starts.
_TURN_SECONDS = 0.002

#: Seconds of this work per connection: its first share, which is enough for some calls, and every later share.
_SHARES = (0.0001, 0.001)
_FIRST, _LATER = range(2)

#: Seconds that the task of a call or a request takes, without the model.
TASK_SECONDS = 0.00003

#: A connection that has received more bytes waits for its second share at once.
_FEW_BYTES = 4096


class Reader(Protocol):
    """A connection that has received bytes, or has more to do for those that it received before."""

    @property
    def admitted(self) -> bool:
        """Whether an earlier request on it had access, which open routes do not need."""

    def read(self, until: float) -> bool:
        """Work until `until`, a time of `perf_counter`. Returns whether there may be more to do."""


class Turns:
    """Bounds the time that a turn takes, whatever arrives and however many connections send it.

    A connection is read at once if this turn has time left. A connection that exceeds its share, or has received many
    bytes, waits behind the others, so that a caller with a single request does not wait for everything that other
    connections have sent. Callers with access alternate with all others, so that they do not wait for thousands of
    strangers.

    `pause` returns for how many seconds nothing is read, for which the application can have reasons. It is called once
    a turn.

    The time of a turn is that of reading. What runs in between, such as a model, does not shorten it. The tasks of
    requests run after the parsing that starts them, so their time is not measured but estimated: a connection calls
    `spend`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.pause: Callable[[], float] = lambda: 0.0
        #: By share, the connections with access and all others.
        self._waiting: tuple[tuple[deque[Reader], deque[Reader]], ...] = tuple((deque(), deque()) for _ in _SHARES)
        self._begun = False  # whether a connection was read in this turn
        self._left = 0.0  # seconds of this turn
        self._context = copy_context()  # so that a call does not start in the context of another call

    def read_or_wait(self, reader: Reader, received: int) -> bool:
        """Let a connection parse the `received` bytes, now or in a later turn. Returns whether it has more to parse."""
        if not self._begun:
            self._begin()
        share = _FIRST if received <= _FEW_BYTES else _LATER
        if self._left <= 0:
            self._add(share, reader)
            return True
        return self._give(share, reader)

    def wait(self, reader: Reader) -> None:
        """Let a connection work in the next turn."""
        if not self._begun:
            self._begin()
        self._add(_LATER, reader)

    def spend(self, seconds: float = TASK_SECONDS) -> None:
        """Shorten this turn by the time that work which was started in it takes after it."""
        self._left -= seconds

    def _begin(self) -> bool:
        """Begin a turn. Returns whether connections may be read in it."""
        self._begun = True
        if pause := self.pause():
            self._left = 0.0
            self._loop.call_later(pause, self._next_turn, context=self._context)
            return False
        self._left = _TURN_SECONDS
        self._loop.call_soon(self._next_turn, context=self._context)
        return True

    def _next_turn(self) -> None:
        self._begun = False
        if not any(map(any, self._waiting)) or not self._begin():
            return
        for share, queues in enumerate(self._waiting):
            while any(queues):  # at least once, so that every connection makes progress, however long the others take
                for readers in queues:
                    if readers:
                        self._give(share, readers.popleft())
                if self._left <= 0:
                    break

    def _add(self, share: int, reader: Reader) -> None:
        known, others = self._waiting[share]
        (known if reader.admitted else others).append(reader)

    def _give(self, share: int, reader: Reader) -> bool:
        """Give a connection one share. Returns whether it has more to read."""
        now = perf_counter()
        more = reader.read(now + min(self._left, _SHARES[share]))
        self._left -= perf_counter() - now
        if more:
            self._add(_LATER, reader)
        return more
