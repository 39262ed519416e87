"""The connections of one protocol in one worker: TLS handshakes, limits, eviction and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import select
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

logger = logging.getLogger(__name__)

#: Connections whose setup may be under way at once without TLS, which takes a turn or two of the event loop.
_MAX_SETUPS = 64

#: At the limit, this part of the connections is evicted at once, so that not every new one searches for an idle one.
_EVICTED_PART = 64

#: Turns of the event loop in which the end of a connection is read, and then heard of.
_ROOM_TURNS = 2

#: Bytes of a rejected request that are read, since unread ones would turn the close into a reset.
_REJECTED_BYTES = 65_536

#: Seconds between two looks at connections that shut down.
_CLOSE_SECONDS = 0.1


class Connection(Protocol):
    """What a listener asks of a connection, which is an `asyncio.Protocol` as well."""

    transport: asyncio.Transport

    @property
    def idle_until(self) -> float | None:
        """The event loop's time at which the connection is closed if nothing arrives; None while it is busy."""

    def watch(self, now: float) -> None:
        """Enforce time limits. Called every second or so with the event loop's time."""

    def shutdown(self) -> None:
        """Finish what has begun, then close."""


class Listener:
    """Accepts connections, keeps their number within limits, and shuts them down.

    `connect` makes a connection; it gets the function to call with it in `connection_lost`. `rejected` counts rejected
    and evicted connections by reason: "limit", "address" or "evicted". `refusal` makes the bytes that a rejected caller
    is sent; it gets none over TLS.
    """

    def __init__(
        self,
        protocol: str,
        connect: Callable[[Callable[[Connection], None]], Connection],
        *,
        rejected: Callable[[str], None],
        refusal: Callable[[], bytes] = bytes,
        max_connections: int,
        max_connections_per_address: int = 0,
        tls: Callable[[], ssl.SSLContext] | None = None,
        handshake_timeout: float,
        write_timeout: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._connect = connect
        self._rejected = rejected
        self._refusal = refusal
        self._max_connections = max_connections
        self._max_per_address = max_connections_per_address
        self._tls = tls
        self._handshake_timeout = handshake_timeout
        self._write_timeout = write_timeout
        self._connections: dict[Connection, str] = {}  # to the peer's address
        self._handshakes: dict[Connection, tuple[socket.socket, asyncio.Task[None]]] = {}  # the longest first
        self._addresses: Counter[str] = Counter()
        self._deferred = 0  # accepted connections that wait for room
        self._closed = 0
        self._reasons: Counter[str] = Counter()  # since they were last logged
        self._shutting_down = False

    @property
    def busy(self) -> bool:
        """Whether connections are being set up that may make room within a turn, so that the next one should wait."""
        free = self._max_connections - len(self._connections) + len(self._handshakes)
        setups = self._tls is None and 0 < len(self._handshakes) >= min(_MAX_SETUPS, free)
        return setups or self._deferred > 0

    def accept(self, accepted: socket.socket, *, turns: int = _ROOM_TURNS) -> None:
        """Serve an accepted connection, or reject it if a limit is reached.

        At the limit it waits for so many turns of the event loop, in which connections that their peers have closed go.
        """
        if turns and len(self._connections) >= self._max_connections:
            self._deferred += turns == _ROOM_TURNS
            self._loop.call_soon(partial(self.accept, accepted, turns=turns - 1))
            return
        self._deferred -= turns < _ROOM_TURNS
        accepted.setblocking(False)
        try:
            address = self._address(accepted)
        except OSError:  # the peer has gone
            accepted.close()
            self._closed += 1
            return
        if address and self._addresses[address] >= self._max_per_address:
            self._reject(accepted, "address")
        elif not self._has_room():
            self._reject(accepted, "limit")
        else:
            connection = self._connect(self._remove)
            self._connections[connection] = address
            self._addresses[address] += 1
            self._handshakes[connection] = accepted, self._loop.create_task(self._set_up(connection, accepted))

    def watch(self, now: float) -> None:
        """Enforce the time limits of every connection, and log rejections. Call it every second or so."""
        for connection in self._established():
            connection.watch(now)
        if self._reasons:
            logger.warning("there are too many connections", extra={"protocol": self._protocol, **self._reasons})
            self._reasons.clear()

    def take_closed(self) -> int:
        """The number of connections that have closed since the last call."""
        closed, self._closed = self._closed, 0
        return closed

    async def close(self, grace: float) -> None:
        """Shut down every connection, also those that are accepted meanwhile; after `grace` seconds abort the rest."""
        self._shutting_down = True
        for connection in self._established():
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._connections:
                    await asyncio.sleep(_CLOSE_SECONDS)
                    self.watch(self._loop.time())
        if self._connections:
            logger.error("%d %s connections did not finish in time", len(self._connections), self._protocol)
        self.abort()

    def abort(self) -> None:
        """Close every connection at once, those in a handshake as well."""
        for connection in list(self._connections):
            self._abort(connection)

    def _established(self) -> list[Connection]:
        return [connection for connection in self._connections if connection not in self._handshakes]

    def _address(self, accepted: socket.socket) -> str:
        """The peer's address if there is a limit for it; empty if not, and for Unix sockets. Raises `OSError`."""
        if not self._max_per_address or accepted.family == socket.AF_UNIX:
            return ""
        address: str = accepted.getpeername()[0]
        return address

    def _has_room(self) -> bool:
        """Whether one more connection fits. At the limit, idle ones are evicted, or else the longest handshake."""
        if len(self._connections) < self._max_connections:
            return True
        evicted = self._longest_idle(1 + self._max_connections // _EVICTED_PART) or list(self._handshakes)[:1]
        for connection in evicted:
            self._abort(connection)
            self._count_rejected("evicted")
        return bool(evicted)

    def _longest_idle(self, count: int) -> list[Connection]:
        """Idle connections, the first to time out first. Unread bytes may be a request, so those do not count."""
        idle: dict[int, tuple[float, int, Connection]] = {}
        for connection in self._established():
            if (until := connection.idle_until) is not None:
                descriptor = connection.transport.get_extra_info("socket").fileno()
                idle[descriptor] = until, descriptor, connection
        unread = select.poll()
        for descriptor in idle:
            unread.register(descriptor, select.POLLIN)
        for descriptor, _ in unread.poll(0):
            del idle[descriptor]
        return [connection for _, _, connection in heapq.nsmallest(count, idle.values())]

    def _reject(self, accepted: socket.socket, reason: str) -> None:
        with accepted, contextlib.suppress(OSError):
            if self._tls is None and (refusal := self._refusal()):
                accepted.send(refusal)
                accepted.shutdown(socket.SHUT_WR)
                accepted.recv(_REJECTED_BYTES)
        self._closed += 1
        self._count_rejected(reason)

    def _count_rejected(self, reason: str) -> None:
        self._reasons[reason] += 1
        self._rejected(reason)

    async def _set_up(self, connection: Connection, accepted: socket.socket) -> None:
        options: dict[str, Any] = {}
        if self._tls is not None:
            options = {
                "ssl": self._tls(),
                "ssl_handshake_timeout": self._handshake_timeout,
                "ssl_shutdown_timeout": self._write_timeout,
            }
        try:
            await self._loop.connect_accepted_socket(lambda: cast(asyncio.Protocol, connection), accepted, **options)
        except OSError:  # of TLS too: the handshake failed or timed out
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
        self._closed += 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
