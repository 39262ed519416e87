"""The fast path: requests that bypass ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from uvicorn.protocols.http.flow_control import FlowControl

from sentiment_conv1d.service.errors import ClientDisconnected
from sentiment_conv1d.service.network.buffers import BODY_FACTOR
from sentiment_conv1d.service.rest.server import headers
from sentiment_conv1d.service.rest.server.asgi import PIECE_BYTES
from sentiment_conv1d.service.rest.server.request import Answer, HttpRequest

#: Answers a request. It raises no error that the client caused. It is canceled if the client disconnects.
Handler = Callable[[HttpRequest], Coroutine[Any, Any, None]]

#: Returns the handler of a POST request with this target and these headers, or None if it has to go through ASGI.
FindHandler = Callable[[bytes, Mapping[bytes, bytes]], Handler | None]


class Wire(NamedTuple):
    """The interface of a connection that its requests use."""

    transport: asyncio.Transport
    flow: FlowControl
    client: str | None
    certified: bool
    common: Callable[[], bytes]  # header lines of all responses
    last: Callable[[], bool]  # whether the connection closes after this response, even if the client wants to keep it


@dataclass(slots=True, eq=False, repr=False)
class FastRequest(HttpRequest):
    """A request that collects its body with `add`. `handler` answers it when the body is complete."""

    handler: Handler
    _wire: Wire
    _keep_alive: bool
    _body: bytearray = field(default_factory=bytearray, init=False)

    def add(self, body: bytes) -> None:
        """Append to the body. Raises `Overloaded`."""
        self.charge.add(BODY_FACTOR * len(body))
        self._body += body

    def take_body(self) -> bytes:
        """Return the body and drop the reference to it."""
        body, self._body = bytes(self._body), bytearray()
        return body

    async def body(self, limit: int, seconds: float) -> bytes:
        return self.take_body()

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
            view = memoryview(body)
            # Send the next piece when the client has read most of the previous one.
            for start in range(0, len(body), PIECE_BYTES):
                await wire.flow.drain()
                if transport.is_closing():
                    raise ClientDisconnected
                transport.write(view[start : start + PIECE_BYTES])
        if close:
            transport.close()
