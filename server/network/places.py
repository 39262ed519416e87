"""The places of the connections of one protocol in one worker: who holds one, and who is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from operator import itemgetter
from typing import Protocol

from sentiment_conv1d.server.network.receiver import has_unread

#: The part of the places that is kept for connections without access, and the least number of them.
_KEPT_PART = 16
_LEAST_KEPT = 16


class Connection(Protocol):
    """The interface of a connection, which is also an `asyncio.Protocol`."""

    transport: asyncio.Transport
    admitted: bool  # whether its client has shown that it has access

    @property
    def idle_until(self) -> float | None:
        """The event loop's time at which the connection closes if nothing arrives. None while it is busy."""

    @property
    def running(self) -> bool:
        """Whether a complete request waits for its answer. It may be the client that does not read."""

    def enforce_timeouts(self, now: float) -> None:
        """Enforce time limits. Called about once a second with the event loop's time."""

    def shutdown(self) -> None:
        """Finish the requests in progress, then close."""


class Places:
    """Up to `count` places, each of which a connection holds until it is lost or replaced.

    If the service is `guarded` by keys or client certificates, connections that have shown one are admitted. All others
    are strangers. Strangers replace each other, the longest-held first, whatever they do, and never an admitted
    connection. `kept` places are always theirs, so that every client can connect and show its key. An admitted
    connection is replaced by another admitted one, if it is idle.

    If the service is not guarded, only addresses tell callers apart. A newcomer replaces the longest-held connection
    without a running request of the address with the most connections.
    """

    def __init__(self, count: int, *, guarded: bool) -> None:
        self._count = count
        self._guarded = guarded
        self.kept = min(max(count // _KEPT_PART, _LEAST_KEPT), count // 2)
        # All of these are in the order in which the connections have come.
        self._addresses: dict[Connection, str] = {}
        self._held: dict[str, dict[Connection, None]] = {}  # by address
        self._strangers: dict[Connection, None] = {}
        #: Admitted connections that a search has found idle, and until when. The least recently active one is first.
        self._idle: dict[Connection, float] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._addresses

    def connections(self) -> list[Connection]:
        """Return all connections."""
        return list(self._addresses)

    def held_by(self, address: str) -> int:
        """Return the number of places that the connections of an address hold."""
        return len(self._held.get(address, ()))

    @property
    def full(self) -> bool:
        """Whether a newcomer has to replace a connection."""
        return len(self._addresses) >= self._count

    def add(self, connection: Connection, address: str) -> None:
        """Give a new connection a place."""
        self._addresses[connection] = address
        self._held.setdefault(address, {})[connection] = None
        self._strangers[connection] = None

    def remove(self, connection: Connection) -> bool:
        """Free the place of a connection. Returns whether it had one."""
        address = self._addresses.pop(connection, None)
        if address is None:
            return False
        held = self._held[address]
        del held[connection]
        if not held:
            del self._held[address]
        self._strangers.pop(connection, None)
        self._idle.pop(connection, None)
        return True

    def replaceable(self, address: str, working: Callable[[Connection], bool]) -> Connection | None:
        """Return the connection that a newcomer from `address` replaces, or None if there is none.

        Only if the service is not guarded, connections for which `working` is true are not replaced.
        """
        if self._guarded:
            return next(iter(self._strangers), None)
        own = self._held.get(address)
        for held in sorted(self._held.values(), key=lambda each: len(each) + (each is own), reverse=True):
            for connection in held:
                if not working(connection):
                    return connection
            if held is own:  # the addresses that follow have fewer connections
                break
        return None

    def admit(self, connection: Connection) -> None:
        """Count a connection as admitted from now on."""
        if self._guarded:
            self._strangers.pop(connection, None)

    @property
    def full_of_admitted(self) -> bool:
        """Whether a connection that is to be admitted has to replace one."""
        return self._guarded and len(self._addresses) - len(self._strangers) >= self._count - self.kept

    def least_active(self) -> Connection | None:
        """Return the admitted connection that has been idle for the longest time, or None if all are busy."""
        if (found := self._next_idle()) is None:
            admitted = (each for each in self._addresses if each not in self._strangers)
            idle = [(each, until) for each in admitted if (until := each.idle_until) is not None]
            self._idle = dict(sorted(idle, key=itemgetter(1)))
            found = self._next_idle()
        return found

    def _next_idle(self) -> Connection | None:
        """Return the next connection of the last search. Those that have become idle since then come after it."""
        while self._idle:
            connection, until = next(iter(self._idle.items()))
            del self._idle[connection]
            if connection.idle_until == until and not has_unread(connection.transport):  # unread bytes can be a request
                return connection
        return None
