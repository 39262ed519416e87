"""The fast path: requests that bypass ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from sentiment_conv1d.server.errors import ClientDisconnected
from sentiment_conv1d.server.http import headers
from sentiment_conv1d.server.http.asgi import PIECE_BYTES
from sentiment_conv1d.server.http.request import Answer, HttpRequest
from sentiment_conv1d.server.network.buffers import BODY_FACTOR, Charge

#: Handles a complete request. There are two paths. It returns None, and calls `FastRequest.reply` at once or in a later
#: turn of the event loop, which needs no task. Or it returns a coroutine that sends the answer. This runs as a task and
#: is cancelled if the client disconnects. Neither raises an error that the client caused.
Handler = Callable[["FastRequest"], Coroutine[Any, Any, None] | None]

#: Returns the handler of a request with this target and these headers, or None if it has to go through ASGI. If the
#: request will be refused, it can set the refusal of its charge: then the body is discarded as it arrives.
FindHandler = Callable[[bytes, Mapping[bytes, bytes], Charge], Handler | None]


class Connection(Protocol):
    """The interface of a connection that its requests use."""

    transport: asyncio.Transport
    flow: FlowControl

    def common_lines(self) -> bytes:
        """Return the header lines of all responses."""

    def is_last(self) -> bool:
        """Return whether the connection closes after the next response, even if the client wants to keep it."""

    def replied(self, request: FastRequest) -> None:
        """Called after `reply`."""


_NOTHING = memoryview(b"")


@dataclass(slots=True, eq=False, repr=False)
class FastRequest(HttpRequest):
    """A request that collects its body with `add`. `handler` answers it when the body is complete."""

    handler: Handler
    _connection: Connection
    _keep_alive: bool
    _body: bytearray = field(default_factory=bytearray, init=False)
    _received: int = field(default=0, init=False)  # bytes of the body, also of one that is not kept
    unsent: memoryview = field(default=_NOTHING, init=False)  # the rest of the answer's body, after `reply`
    _close: bool = field(default=False, init=False)  # after the answer
    #: Called if the client disconnects before `reply`. The handler can set it.
    disconnected: Callable[[], object] | None = field(default=None, init=False)

    def add(self, body: bytes) -> None:
        """Append to the body, unless the request is refused. Raises `Overloaded`."""
        self._received += len(body)
        if self.charge.refusal is None:
            self.charge.add(BODY_FACTOR * len(body))
            self._body += body

    @property
    def size(self) -> int:
        """Return the number of bytes of the body that have arrived."""
        return len(self._body)

    @property
    def remaining(self) -> int:
        """Return the number of bytes of the body that have not arrived, or 0 if it is unknown."""
        return (headers.content_length(self.headers) or 0) - self._received

    def take_body(self) -> bytes:
        """Return the body and drop the reference to it."""
        body, self._body = bytes(self._body), bytearray()
        return body

    async def body(self, limit: int, seconds: float) -> bytes:
        return self.take_body()

    async def send(self, status: int, answer: Answer, request_id: str) -> None:
        if self._connection.transport.is_closing():
            raise ClientDisconnected
        self.reply(status, answer, request_id)

    def reply(self, status: int, answer: Answer, request_id: str) -> None:
        """Send the response. A large one is sent piece by piece in the turns of the connection."""
        self.disconnected = None
        if not self._connection.transport.is_closing():
            self._begin(status, answer, request_id)
        self._connection.replied(self)

    def _begin(self, status: int, answer: Answer, request_id: str) -> None:
        """Write the response, or its head and leave the body in `unsent` for `send_piece`, which shares its memory."""
        connection, body = self._connection, answer.body
        self._close = close = not self._keep_alive or connection.is_last() or headers.CLOSE in answer.headers
        head = headers.head(status, connection.common_lines(), answer, request_id, close=close)
        if body and (len(body) > PIECE_BYTES or connection.flow.write_paused):
            connection.transport.write(head)
            self.unsent = memoryview(body)
        else:
            connection.transport.write(head + body)
            if close:
                connection.transport.close()

    def send_piece(self) -> None:
        """Write the next piece of the body. The connection must be open."""
        self._connection.transport.write(self.unsent[:PIECE_BYTES])
        self.unsent = self.unsent[PIECE_BYTES:]
        if self._close and not self.unsent:
            self._connection.transport.close()
