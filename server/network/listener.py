"""Manages the connections of one protocol in one worker: TLS handshakes, limits, eviction and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Protocol, cast

from sentiment_conv1d.server.network.receiver import Receiver, has_unread
from sentiment_conv1d.server.network.tls import Plain, TlsTransport
from sentiment_conv1d.server.network.turns import Turns

logger = logging.getLogger(__name__)

#: Connections without TLS that may be set up at the same time. Setup takes one or two turns of the event loop.
_MAX_SETUPS = 64

#: At the limit, the listener evicts a 64th of the connections at once, so that it does not search for each new one.
_EVICTED_PART = 64

#: Turns of the event loop until a connection that its peer has closed is removed: one to read the end, one to report
#: it.
_ROOM_TURNS = 2

#: Bytes of a rejected request that are read. Unread bytes would turn the close into a reset.
_REJECTED_BYTES = 65_536

#: Seconds between two checks of the connections during shutdown.
_CLOSE_SECONDS = 0.1


class Connection(Protocol):
    """The interface of a connection, which is also an `asyncio.Protocol`."""

    transport: asyncio.Transport
    admitted: bool  # whether an earlier request on it had access

    @property
    def idle_until(self) -> float | None:
        """The event loop's time at which the connection closes if nothing arrives. None while it is busy."""

    def watch(self, now: float) -> None:
        """Enforce time limits. Called about once a second with the event loop's time."""

    def shutdown(self) -> None:
        """Finish the requests in progress, then close."""


@dataclass(eq=False, kw_only=True)
class Listener:
    """Accepts connections, keeps their number within limits, and shuts them down.

    `connect` creates a connection; its argument is the function that `connection_lost` must call with the connection.
    `rejected` counts rejected and evicted connections by reason: "limit", "address" or "evicted". `refusal` returns the
    bytes to send to a rejected caller; over TLS nothing is sent.
    """

    protocol: str
    connect: Callable[[Callable[[Connection], None]], Connection]
    rejected: Callable[[str], None]
    refusal: Callable[[], bytes] = bytes
    max_connections: int
    max_connections_per_address: int = 0
    tls: Callable[[], ssl.SSLContext] | None = None
    handshake_timeout: float
    turns: Turns

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections: dict[Connection, str] = {}  # to the peer's address; empty if it is not limited
        self._handshakes: dict[Connection, tuple[socket.socket, asyncio.Task[None]]] = {}  # the longest first
        self._addresses: Counter[str] = Counter()
        self._deferred = 0  # accepted connections that wait for a place
        self.closed = 0  # connections that were accepted and have closed, until the owner sets it to 0
        self._reasons: Counter[str] = Counter()  # since they were last logged
        self._shutting_down = False

    @property
    def busy(self) -> bool:
        """Whether setups in progress may free a place within a turn, so that the next connection should wait."""
        free = self.max_connections - len(self._connections) + len(self._handshakes)
        setups = self.tls is None and 0 < len(self._handshakes) >= min(_MAX_SETUPS, free)
        return setups or self._deferred > 0

    def accept(self, accepted: socket.socket, *, turns: int = _ROOM_TURNS) -> None:
        """Serve an accepted connection, or reject it if a limit is reached.

        At the limit, it first waits `turns` turns of the event loop for connections that their peers have closed.
        """
        if turns and len(self._connections) >= self.max_connections:
            self._deferred += turns == _ROOM_TURNS
            self._loop.call_soon(partial(self.accept, accepted, turns=turns - 1))
            return
        self._deferred -= turns < _ROOM_TURNS
        accepted.setblocking(False)
        try:
            limited = self.max_connections_per_address and accepted.family != socket.AF_UNIX
            address = accepted.getpeername()[0] if limited else ""
        except OSError:  # the peer has disconnected
            accepted.close()
            self.closed += 1
            return
        if address and self._addresses[address] >= self.max_connections_per_address:
            self._reject(accepted, "address")
        elif not self._make_room():
            self._reject(accepted, "limit")
        else:
            connection = self.connect(self._remove)
            self._connections[connection] = address
            self._addresses[address] += 1
            self._handshakes[connection] = accepted, self._loop.create_task(self._set_up(connection, accepted))

    def watch(self, now: float) -> None:
        """Enforce the time limits of every connection and log rejections. Call it about once a second."""
        for connection in self._established():
            connection.watch(now)
        if self._reasons:
            logger.warning("there are too many connections", extra={"protocol": self.protocol, **self._reasons})
            self._reasons.clear()

    async def close(self, seconds: float) -> None:
        """Shut down every connection, including new ones, and wait up to `seconds` until all are closed."""
        self._shutting_down = True
        for connection in self._established():
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._connections:
                    await asyncio.sleep(_CLOSE_SECONDS)
                    self.watch(self._loop.time())
        if self._connections:
            logger.error("%d %s connections did not finish in time", len(self._connections), self.protocol)

    def abort(self) -> None:
        """Close every connection at once, including those in a handshake."""
        for connection in list(self._connections):
            self._abort(connection)

    def _established(self) -> list[Connection]:
        return [connection for connection in self._connections if connection not in self._handshakes]

    def _make_room(self) -> bool:
        """Return whether one more connection fits. At the limit, evict idle ones, or else the longest handshake.

        TLS handshakes, which anybody can leave unfinished, evict each other when they are more than half of all.
        """
        if len(self._connections) < self.max_connections:
            return True
        count = 1 + self.max_connections // _EVICTED_PART
        if self.tls is not None and 2 * len(self._handshakes) > self.max_connections:
            evicted = list(islice(self._handshakes, count))
        else:
            evicted = self._longest_idle(count) or list(self._handshakes)[:1]
        for connection in evicted:
            self._abort(connection)
            self._count_rejected("evicted")
        return bool(evicted)

    def _longest_idle(self, count: int) -> list[Connection]:
        """Return up to `count` idle connections, the next to time out first. Unread bytes can be a request.

        Those without access, which anybody can open, evict each other when they are more than half of all.
        """
        idle = [(until, each) for each in self._established() if (until := each.idle_until) is not None]
        strangers = [each for each in idle if not each[1].admitted]
        if 2 * len(strangers) > self.max_connections:
            idle = strangers
        idle.sort(key=itemgetter(0))
        return list(islice((each for _, each in idle if not has_unread(each.transport)), count))

    def _reject(self, accepted: socket.socket, reason: str) -> None:
        with accepted, contextlib.suppress(OSError):
            if self.tls is None and (refusal := self.refusal()):
                accepted.send(refusal)
                accepted.shutdown(socket.SHUT_WR)
                accepted.recv(_REJECTED_BYTES)
        self.closed += 1
        self._count_rejected(reason)

    def _count_rejected(self, reason: str) -> None:
        self._reasons[reason] += 1
        self.rejected(reason)

    async def _set_up(self, connection: Connection, accepted: socket.socket) -> None:
        try:
            if self.tls is None:
                receiver = cast(asyncio.BaseProtocol, Receiver(cast(asyncio.Protocol, connection)))
                await self._loop.connect_accepted_socket(lambda: receiver, accepted)
            else:
                transport = TlsTransport(cast(Plain, connection), self.tls(), self.turns)
                await self._loop.connect_accepted_socket(lambda: transport, accepted)
                await transport.handshake(self.handshake_timeout)
        except OSError:  # includes TLS errors: the handshake failed or timed out
            accepted.close()
            self._remove(connection)
        finally:
            self._handshakes.pop(connection, None)
        if self._shutting_down and connection in self._connections:
            connection.shutdown()

    def _abort(self, connection: Connection) -> None:
        if connection in self._handshakes:
            accepted, task = self._handshakes.pop(connection)
            task.cancel()
            accepted.close()
        else:
            connection.transport.abort()
        self._remove(connection)

    def _remove(self, connection: Connection) -> None:
        """Count a connection as closed, once."""
        address = self._connections.pop(connection, None)
        if address is None:
            return
        self.closed += 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
