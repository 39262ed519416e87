"""A request of a busy route that takes no way over ASGI: read from a connection, answered on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Protocol

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl

from sentiment_conv1d.service.network.buffers import BODY_FACTOR, Charge
from sentiment_conv1d.service.rest.endpoint import Answer
from sentiment_conv1d.service.rest.routing import Match
from sentiment_conv1d.service.rest.server import headers
from sentiment_conv1d.service.rest.server.body import ClientDisconnected
from sentiment_conv1d.service.rest.server.exchange import Exchange, Result

#: Larger responses are written in pieces of this many bytes, which bounds what a slow reader keeps in the buffer.
PIECE_BYTES = HIGH_WATER_LIMIT


class Application(Protocol):
    """What answers requests of busy routes."""

    def direct(self, target: bytes, headers: Mapping[bytes, bytes]) -> Match | None:
        """The busy route of a POST request with that target and head, unless its body is better read over ASGI."""

    async def serve(self, match: Match, exchange: Exchange) -> None:
        """Answer it. Never raises what has to do with the request."""


class Wire(NamedTuple):
    """What a request has to know of its connection."""

    transport: asyncio.Transport
    flow: FlowControl
    client: str | None
    certified: bool
    common: Callable[[], bytes]  # the header lines of every response
    last: Callable[[], bool]  # whether the connection closes after this response, whatever the caller wants


class FastRequest(Exchange):
    """Its body arrives with `add`; after `complete` the application may have it."""

    __slots__ = ("_body", "_keep_alive", "_wire", "_working", "disconnected", "match")

    def __init__(
        self,
        wire: Wire,
        match: Match,
        target: bytes,
        headers: Mapping[bytes, bytes],
        charge: Charge,
        *,
        keep_alive: bool,
    ) -> None:
        self.method = "POST"
        self.target = target
        self.headers = headers
        self.client = wire.client
        self.certified = wire.certified
        self.charge = charge
        self.context = None
        self._wire = wire
        self._keep_alive = keep_alive
        self._body = bytearray()
        self._working: asyncio.Task[Any] | None = None
        self.match = match
        self.disconnected = False

    def add(self, body: bytes) -> None:
        """More of the body. Raises `Overloaded`."""
        self.charge.add(BODY_FACTOR * len(body))
        self._body += body

    def take_body(self) -> bytes:
        """The body, which the request has no more then."""
        body, self._body = bytes(self._body), bytearray()
        return body

    def disconnect(self) -> None:
        """The caller has gone: stop work that waits for its turn."""
        self.disconnected = True
        if self._working is not None:
            self._working.cancel()

    async def body(self, limit: int, seconds: float) -> bytes:
        return self.take_body()

    async def while_connected(self, work: Coroutine[Any, Any, Result]) -> Result:
        self._working = task = asyncio.current_task()
        try:
            return await work
        except asyncio.CancelledError:
            if task is None or not self.disconnected:
                raise
            task.uncancel()
            raise ClientDisconnected from None
        finally:
            self._working = None

    async def send(self, status: int, answer: Answer, request_id: str) -> None:
        wire, body = self._wire, answer.body
        transport = wire.transport
        if transport.is_closing():
            raise ClientDisconnected
        close = not self._keep_alive or wire.last() or headers.CLOSE in answer.headers
        head = headers.head(status, wire.common(), answer, request_id, close=close)
        if len(body) <= PIECE_BYTES and not wire.flow.write_paused:
            transport.write(head + body)
        else:
            transport.write(head)
            # The next piece waits until the caller has read most of the one before it.
            for start in range(0, len(body), PIECE_BYTES):
                await wire.flow.drain()
                if transport.is_closing():
                    raise ClientDisconnected
                transport.write(body[start : start + PIECE_BYTES])
        if close:
            transport.close()
