"""Manages the connections of one protocol in one worker: TLS handshakes, limits, eviction and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.server.network.places import Connection, Places
from sentiment_conv1d.server.network.receiver import Receiver
from sentiment_conv1d.server.network.tls import Plain, TlsTransport
from sentiment_conv1d.server.network.turns import Turns

logger = logging.getLogger(__name__)

#: Connections without TLS that may be set up at the same time. Setup takes one or two turns of the event loop.
_MAX_SETUPS = 64

#: At the limit, turns of the event loop that a new connection waits for one whose peer has closed it: one to read the
#: end, one to report it.
_ROOM_TURNS = 2

#: The part of the places kept for connections without access that is replaced at once, so that what they have sent is
#: read in time, and a TLS handshake can end.
_REPLACED_PART = 16

#: Bytes of a rejected request that are read. Unread bytes would turn the close into a reset.
_REJECTED_BYTES = 65_536

#: Seconds between two checks of the connections during shutdown.
_CLOSE_SECONDS = 0.1


@dataclass(eq=False, kw_only=True)
class Listener:
    """Accepts connections, keeps their number within limits, and shuts them down.

    `connect` creates a connection. Its arguments are two functions: `connection_lost` must call the first one with the
    connection, and the connection calls the second one with itself when its client shows that it has access. This one
    raises `Unavailable` if there is no place for it. `guarded` is whether access needs a key or a client certificate.
    `rejected` counts rejected and evicted connections by reason: "limit", "address" or "evicted". `rejection` returns
    the bytes to send to a rejected caller; over TLS nothing is sent.
    """

    protocol: str
    connect: Callable[[Callable[[Connection], None], Callable[[Connection], None]], Connection]
    rejected: Callable[[str], None]
    rejection: Callable[[], bytes] = bytes
    max_connections: int
    max_connections_per_address: int = 0
    guarded: bool = False
    tls: Callable[[], ssl.SSLContext] | None = None
    handshake_timeout: float
    turns: Turns

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._places = Places(self.max_connections, guarded=self.guarded)
        #: Connections that are being set up, with the transport of the handshake from its beginning on.
        self._handshakes: dict[Connection, TlsTransport | None] = {}
        self._setups: set[asyncio.Task[None]] = set()
        self._turn = 0  # counts turns in which connections wait for a place
        self._waiting: deque[tuple[int, socket.socket]] = deque()  # the turn in which each may replace another one
        self.closed = 0  # connections that were accepted and have closed, until the owner sets it to 0
        self._reasons: Counter[str] = Counter()  # since they were last logged
        self._shutting_down = False

    @property
    def busy(self) -> bool:
        """Whether the next connection should wait, for setups in progress or for connections that wait for a place."""
        free = self.max_connections - len(self._places) + len(self._handshakes)
        setups = self.tls is None and 0 < len(self._handshakes) >= min(_MAX_SETUPS, free)
        return setups or len(self._waiting) > self._places.kept // _REPLACED_PART

    def accept(self, accepted: socket.socket) -> None:
        """Serve an accepted connection, or reject it if a limit is reached.

        At the limit, it first waits some turns of the event loop for connections that their peers have closed.
        """
        if not (self._waiting or self._places.full):
            self._place(accepted)
            return
        if not self._waiting:
            self._loop.call_soon(self._place_waiting)
        self._waiting.append((self._turn + _ROOM_TURNS, accepted))

    def enforce_timeouts(self, now: float) -> None:
        """Enforce the time limits of every connection and log rejections. Call it about once a second."""
        for connection in self._established():
            connection.enforce_timeouts(now)
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
                while self._places:
                    await asyncio.sleep(_CLOSE_SECONDS)
                    self.enforce_timeouts(self._loop.time())
        if self._places:
            logger.error("%d %s connections did not finish in time", len(self._places), self.protocol)

    def abort(self) -> None:
        """Close every connection at once, including those in a handshake."""
        while self._waiting:
            self._waiting.popleft()[1].close()
        for connection in self._places.connections():
            self._abort(connection)

    def _established(self) -> list[Connection]:
        return [connection for connection in self._places.connections() if connection not in self._handshakes]

    def _place_waiting(self) -> None:
        """Place the connections for which there is room, and those that have waited long enough."""
        self._turn += 1
        while self._waiting and (not self._places.full or self._waiting[0][0] <= self._turn):
            self._place(self._waiting.popleft()[1])
        if self._waiting:
            self._loop.call_soon(self._place_waiting)

    def _place(self, accepted: socket.socket) -> None:
        """Begin to serve a connection, in the place of another one at the limit, or reject it."""
        accepted.setblocking(False)
        try:
            address = "" if accepted.family == socket.AF_UNIX else accepted.getpeername()[0]
        except OSError:  # the peer has disconnected
            accepted.close()
            self.closed += 1
            return
        if address and 0 < self.max_connections_per_address <= self._places.held_by(address):
            self._reject(accepted, "address")
        elif self._places.full and not self._evict(self._places.replaceable(address, self._is_working)):
            self._reject(accepted, "limit")
        else:
            connection = self.connect(self._remove, self._admit)
            self._places.add(connection, address)
            self._handshakes[connection] = None
            task = self._loop.create_task(self._set_up(connection, accepted))
            task.add_done_callback(self._setups.discard)
            self._setups.add(task)

    def _is_working(self, connection: Connection) -> bool:
        """Return whether a connection waits for the service, and not for its client to send or to read."""
        if connection in self._handshakes or connection.transport.get_write_buffer_size():
            return False
        return connection.running

    def _admit(self, connection: Connection) -> None:
        """Count a connection as admitted. Raises `Unavailable` if the places of admitted ones are taken and busy."""
        if not self._promote(connection):
            self._count_rejected("limit")
            raise Unavailable("there are too many connections")

    def _promote(self, connection: Connection) -> bool:
        if self._places.full_of_admitted and not self._evict(self._places.least_active()):
            return False
        self._places.admit(connection)
        connection.admitted = True
        return True

    def _evict(self, connection: Connection | None) -> bool:
        """Close a connection that is replaced, if there is one. Returns whether there is."""
        if connection is None:
            return False
        self._abort(connection)
        self._count_rejected("evicted")
        return True

    def _reject(self, accepted: socket.socket, reason: str) -> None:
        with accepted, contextlib.suppress(OSError):
            if self.tls is None and (rejection := self.rejection()):
                accepted.send(rejection)
                accepted.shutdown(socket.SHUT_WR)
                accepted.recv(_REJECTED_BYTES)
        self.closed += 1
        self._count_rejected(reason)

    def _count_rejected(self, reason: str) -> None:
        self._reasons[reason] += 1
        self.rejected(reason)

    async def _set_up(self, connection: Connection, accepted: socket.socket) -> None:
        """Connect a socket with its connection, after the handshake. A cancelled setup would lose the socket."""
        try:
            if self.tls is None:
                receiver = cast(asyncio.BaseProtocol, Receiver(cast(asyncio.Protocol, connection)))
                await self._loop.connect_accepted_socket(lambda: receiver, accepted)
                transport = connection.transport
            else:
                transport = secure = TlsTransport(cast(Plain, connection), self.tls(), self.turns)
                await self._loop.connect_accepted_socket(lambda: secure, accepted)
                if connection in self._places:
                    self._handshakes[connection] = secure
                    await secure.handshake(self.handshake_timeout)
        except OSError:  # includes TLS errors: the handshake failed or timed out
            accepted.close()
            self._remove(connection)
            return
        finally:
            del self._handshakes[connection]
        if connection not in self._places:  # it was replaced meanwhile
            transport.abort()
            return
        if self.guarded and not connection.admitted and transport.get_extra_info("peercert"):
            self._promote(connection)
        if self._shutting_down:
            connection.shutdown()

    def _abort(self, connection: Connection) -> None:
        if connection not in self._handshakes:
            connection.transport.abort()
        elif (transport := self._handshakes[connection]) is not None:
            transport.abort()
        self._remove(connection)

    def _remove(self, connection: Connection) -> None:
        """Count a connection as closed, once."""
        if self._places.remove(connection):
            self.closed += 1
