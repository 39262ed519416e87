"""One request of a connection, from its first byte to the last byte of its answer."""

from __future__ import annotations

import logging
from asyncio import Task, Transport
from collections.abc import Coroutine, Mapping
from enum import Enum, auto
from typing import Any, Protocol

from sentiment_conv1d.server.errors import ClientDisconnected
from sentiment_conv1d.server.http import headers
from sentiment_conv1d.server.http.asgi import PIECE_BYTES
from sentiment_conv1d.server.http.fast_path import FastRequest, Handler
from sentiment_conv1d.server.http.headers import content_length
from sentiment_conv1d.server.http.parser import Fields
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.server.network.buffers import BODY_FACTOR, Buffers, Charge
from sentiment_conv1d.server.network.shares import evicted
from sentiment_conv1d.server.network.turns import TASK_SECONDS

logger = logging.getLogger(__name__)

#: Seconds of the event loop that a request through ASGI takes.
ASGI_SECONDS = 0.0005


class Phase(Enum):
    """How far a request is. One that the application answers skips BODY, because its body arrives in later phases."""

    HEAD = auto()  # its head arrives
    BODY = auto()  # its body arrives, and its handler waits for the last byte
    WAITING = auto()  # earlier requests are answered first
    ANSWERING = auto()  # its handler or the application runs
    SENDING = auto()  # a part of its answer is written
    DONE = auto()  # its answer is written, or nobody wants it


HEAD, BODY, WAITING, ANSWERING, SENDING, DONE = Phase

_NOTHING = memoryview(b"")


class Connection(Protocol):
    """The interface of a connection that its requests use."""

    transport: Transport
    write_paused: bool  # whether the client has to read first

    @property
    def unread(self) -> bool:
        """Whether the client has read nothing for some time."""

    def common_lines(self) -> bytes:
        """Return the header lines of all responses."""

    def is_last(self) -> bool:
        """Return whether the connection closes after the next response, even if the client wants to keep it."""

    def run(self, coroutine: Coroutine[Any, Any, None], seconds: float) -> Task[None]:
        """Run a coroutine as a task that takes about these seconds of the event loop."""

    def send_next(self) -> None:
        """Call `send_piece` of the request that is answered in a turn of the connection."""

    def answered(self, *, close: bool) -> None:
        """Called when the answer is written. `close` is whether the connection closes after it."""

    def is_receiving(self, cycle: RequestCycle) -> bool:
        """Return whether a request is not complete."""

    def refuse_body(self, cycle: RequestCycle) -> None:
        """Refuse a request that is not complete, for the reason in its charge."""


class ApplicationRun(Protocol):
    """The interface of a run of the ASGI application that its request uses."""

    @property
    def backlogged(self) -> bool:
        """Whether the application should receive what has arrived before the rest arrives."""

    def body_received(self, data: bytes) -> None:
        """Take a piece of the body."""

    def body_complete(self) -> None:
        """Take the end of the body."""

    def body_refused(self) -> None:
        """Drop the body. The application finds the reason in the charge."""

    def disconnect(self) -> None:
        """Tell the application that nobody waits for its response."""

    def cancel(self) -> None:
        """Cancel the task of the application, if it has named one."""

    async def run(self) -> None:
        """Call the application."""


class RequestCycle(FastRequest):
    """A request that is answered by a handler, once its body is complete, or by a run of the ASGI application.

    `caller` is charged for the memory of the request until its head names another one.
    """

    __slots__ = (
        "_arrived",
        "_body",
        "_close",
        "_connection",
        "_run",
        "fields",
        "handler",
        "keep_alive",
        "phase",
        "unsent",
    )

    def __init__(
        self, connection: Connection, buffers: Buffers, caller: str, client: str | None, scheme: str, *, certified: bool
    ) -> None:
        self._connection = connection
        self.client = client
        self.scheme = scheme
        self.certified = certified
        self.charge = Charge(buffers, caller, self._evict)
        self.phase = HEAD
        self.unsent = _NOTHING  # the rest of the answer's body
        self.disconnected = None
        self._arrived = 0  # bytes of the body, also of one that is not kept
        self._body = bytearray()  # what has arrived for a handler
        self._run: ApplicationRun | None = None
        self.handler: Handler | None = None

    def head_received(
        self,
        method: bytes,
        target: bytes,
        version: str,
        fields: Fields,
        keep_alive: bool,
        headers: Mapping[bytes, bytes],
    ) -> None:
        """Take the head. `headers` are the fields by name."""
        self.method = method.decode()
        self.target = target
        self.version = version
        self.fields = fields
        self.keep_alive = keep_alive
        self.headers = headers

    def answer_over_asgi(self, run: ApplicationRun) -> None:
        """Let the application read the body, and what was collected for a handler."""
        self._run = run
        if self.phase is BODY:
            run.body_received(self.take_body())
        self.phase = WAITING

    def body_received(self, data: bytes) -> None:
        """Take a piece of the body, unless the request will be refused. Raises `Overloaded`."""
        self._arrived += len(data)
        if self.charge.refusal is None:
            self.charge.add(BODY_FACTOR * len(data))
            if self._run is None:
                self._body += data
            else:
                self._run.body_received(data)

    @property
    def remaining(self) -> int:
        """Return the number of bytes of the body that have not arrived, or 0 if it is unknown."""
        return (content_length(self.headers) or 0) - self._arrived

    def body_complete(self) -> None:
        """Tell the application that the body is complete."""
        if self._run is not None:
            self._run.body_complete()

    def body_refused(self) -> None:
        """Tell the application that the rest of the body is refused, for the reason in the charge."""
        if self._run is not None:
            self._run.body_refused()

    @property
    def backlogged(self) -> bool:
        """Whether the application should read what has arrived of the body before the rest arrives."""
        return self._run is not None and self.phase is not DONE and self._run.backlogged

    def start(self) -> None:
        """Begin to answer."""
        self.phase = ANSWERING
        if self._run is not None:
            self._connection.run(self._run.run(), ASGI_SECONDS)
        elif self.handler is not None and (sending := self.handler(self)) is not None:
            self.disconnected = self._connection.run(self._await(sending), TASK_SECONDS).cancel

    def cancel(self) -> None:
        """Stop, because the connection is lost."""
        if self._run is not None:
            self._run.cancel()
        self.abandon()

    def abandon(self) -> None:
        """Drop the answer, because nobody waits for it."""
        running = self.phase in (ANSWERING, SENDING)
        self.phase = DONE
        if self._run is not None and running:
            self._run.disconnect()  # its memory is released when it has ended
            return
        self.release()
        if self.disconnected is not None:
            self.disconnected()

    def release(self) -> None:
        """Release the memory of the request."""
        self._run = None
        self.charge.release()

    @property
    def size(self) -> int:
        return len(self._body)

    def take_body(self) -> bytes:
        body, self._body = bytes(self._body), bytearray()
        return body

    async def body(self, limit: int, seconds: float) -> bytes:
        return self.take_body()

    async def send(self, status: int, answer: Answer, request_id: str) -> None:
        if self._connection.transport.is_closing():
            raise ClientDisconnected
        self.reply(status, answer, request_id)

    def reply(self, status: int, answer: Answer, request_id: str) -> None:
        self.disconnected = None
        if self.phase is DONE:
            return
        connection, body = self._connection, answer.body
        transport = connection.transport
        if transport.is_closing():
            self._end(close=False)
            return
        close = not self.keep_alive or connection.is_last() or headers.CLOSE in answer.headers
        head = headers.head(status, connection.common_lines(), answer, request_id, close=close)
        if body and (len(body) > PIECE_BYTES or connection.write_paused):
            transport.write(head)
            self.phase = SENDING
            self._close = close
            self.unsent = memoryview(body)
            connection.send_next()
        else:
            transport.write(head + body)
            self._end(close=close)

    def send_piece(self) -> None:
        """Write the next piece of the answer's body, which shares the memory of the body."""
        self._connection.transport.write(self.unsent[:PIECE_BYTES])
        self.unsent = self.unsent[PIECE_BYTES:]
        if self.unsent:
            self._connection.send_next()
        else:
            self._end(close=self._close)

    def _end(self, *, close: bool) -> None:
        self.phase = DONE
        self.charge.release()
        self._connection.answered(close=close)

    async def _await(self, sending: Coroutine[Any, Any, None]) -> None:
        try:
            await sending
        except Exception:
            logger.exception("%s failed", self.target.decode())
            self._connection.transport.abort()

    def _evict(self, charge: Charge) -> bool:
        """Reject the request if its body is arriving, or cut its answer if the client does not read."""
        connection = self._connection
        if connection.is_receiving(self) and self.phase is not HEAD:
            charge.refusal = evicted(charge.caller)
            connection.refuse_body(self)
            return True
        if self.phase is SENDING and connection.unread:
            evicted(charge.caller)
            connection.transport.abort()
            return True
        return False
