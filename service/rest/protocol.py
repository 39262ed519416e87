"""HTTP/1.1 as uvicorn speaks it, and what it leaves open.

Here what is no HTTP is refused in JSON like everything else, the head of a request is limited in size and time, a
caller who does not read its answers is left, and an offer to change to HTTP/2, which Java's client and `curl --http2`
send with a body, is declined without losing the body.

Requests of busy routes, up to batches of some dozen reviews, take no way over ASGI, whose messages and tasks would cost
as much as a short text does: from the last byte of the body the application is called, and what it answers is written.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, cast
from typing import Protocol as Interface

import httptools
from uvicorn import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.buffers import Buffers
from service.errors import HTTP_STATUS, HeadTooLarge, Malformed, Overloaded, RequestError
from service.record import Record
from service.rest.body import CERTIFIED, RECORD, ClientDisconnected
from service.rest.endpoint import Answer
from service.rest.exchange import Exchange, Result
from service.rest.native import error_body
from service.rest.routing import Match

logger = logging.getLogger(__name__)

#: Bytes of a request line and headers. Checked as they arrive, so what comes in one piece may be a little more.
MAX_HEAD_BYTES = 65_536

#: Requests on one connection that may wait for the answer to the one before them. Each takes more memory than it has
#: bytes.
MAX_PIPELINED = 128

#: Answers of more bytes are written in pieces of as many, so that no more of them than that is given out in advance.
PIECE_BYTES = HIGH_WATER_LIMIT

#: In every answer: what it is called is what it is, whatever a browser makes of its content.
SECURITY_HEADERS = ((b"x-content-type-options", b"nosniff"),)

#: Bytes of an unfinished body that do not count as waiting for a slow caller.
_UNCOUNTED = 16_384

_OFFER = {b"connection", b"upgrade", b"http2-settings"}


class Application(Interface):
    """What answers requests of busy routes."""

    def direct(self, target: bytes, headers: Mapping[bytes, bytes]) -> Match | None:
        """The busy route of a POST request with that target and head, unless its body is better read over ASGI."""

    async def serve(self, match: Match, exchange: Exchange) -> None:
        """Answer it. Never raises what has to do with the request."""


class _Incoming(NamedTuple):
    """A request of the application as far as it has come."""

    match: Match
    headers: dict[bytes, bytes]
    pieces: list[bytes]


class Protocol(HttpToolsProtocol):
    """One connection.

    `application` answers requests of busy routes, if there is one to be asked directly, and `buffers` count their
    unfinished bodies; `header_timeout` and `write_timeout` are seconds for the head of a request and for an answer.
    They and the time of an idle connection are looked at by `watch`.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        loop: asyncio.AbstractEventLoop,
        lost: Callable[[Protocol], None],
        *,
        application: Application | None = None,
        buffers: Buffers,
        header_timeout: float,
        write_timeout: float,
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self._lost = lost
        self._application = application
        self._buffers = buffers
        self._incoming: _Incoming | None = None  # the request that is being read
        self._held = 0  # of the buffers, for it
        self._until: float | None = None
        self._common_of: object = None
        self._common = b""
        self._header_timeout = header_timeout
        self._write_timeout = write_timeout
        self._unread: RequestResponseCycle | None = None  # the request whose answer the caller does not read
        self._unread_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request as long to begin as any later one."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_head = False
        self._wait(self.timeout_keep_alive)
        if self.scheme == "https":
            self.app_state[CERTIFIED] = bool(transport.get_extra_info("peercert"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a request that waits for a run, or is not complete: nobody is there to read its answer."""
        cycle: RequestResponseCycle | Direct | None = self.cycle
        super().connection_lost(exc)
        self._lost(self)
        self.cycle = None  # type: ignore[assignment]  # another circle: it knows whom to tell of its end
        self._take_incoming()
        if isinstance(cycle, Direct):
            cycle.stop()
            record = cycle.record
        else:
            record = None if cycle is None else cast(Record | None, cycle.scope.get(RECORD))
        if record is not None and record.waiting is not None and not record.waiting.done():
            record.waiting.set_exception(ClientDisconnected())

    def data_received(self, data: bytes) -> None:
        """Take what arrived, if it is HTTP."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            if len(self.pipeline) > MAX_PIPELINED:
                self.transport.abort()
            else:
                self._refuse(Malformed("what arrived is not HTTP/1.1"))
        else:
            if self._in_head:
                if self._head_bytes == 0 and self._idle:
                    self._wait(self._header_timeout)
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    self._refuse(HeadTooLarge(f"the headers have more than {MAX_HEAD_BYTES} bytes, which is the limit"))

    async def _serve(self, match: Match, exchange: Direct) -> None:
        assert self._application is not None
        try:
            await self._application.serve(match, exchange)
        except Exception:
            logger.exception("%s failed", match.path)
            self.transport.abort()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._head_bytes, self._in_head = 0, True

    def on_headers_complete(self) -> None:
        """Start the request, unless it is to be read again without its offer, or is the application's once complete."""
        self._in_head = False
        self._until = None
        if self.parser.should_upgrade():
            return
        if self._application is not None and self._idle and self.parser.get_method() == b"POST":
            headers = dict(self.headers)
            if not self.expect_100_continue and (match := self._application.direct(self.url, headers)) is not None:
                self._incoming = _Incoming(match, headers, [])
                return
        self._start()

    def on_body(self, body: bytes) -> None:
        """Some bytes of a body."""
        incoming = self._incoming
        if incoming is not None and (incoming.pieces or len(body) > _UNCOUNTED):
            try:
                self._held += self._buffers.hold(len(body))
            except Overloaded:
                self._give_up_waiting()  # and have it refused as any large request is
                incoming = None
        if incoming is None:
            super().on_body(body)
        else:
            incoming.pieces.append(body)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        if self.parser.should_upgrade():
            return
        incoming = self._take_incoming()
        if incoming is None:
            super().on_message_complete()
            return
        match, headers, pieces = incoming
        exchange = Direct(self, headers, b"".join(pieces))
        self.cycle = exchange  # type: ignore[assignment]  # it is all of a cycle that uvicorn asks for
        task = self.loop.create_task(self._serve(match, exchange))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        """Wait for the next request, or begin it if it is here. As uvicorn does, but for a timer in each request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._wait(self.timeout_keep_alive)

    def shutdown(self) -> None:
        """Finish what has begun and close."""
        self._give_up_waiting()
        super().shutdown()

    def lines(self) -> bytes:
        """The header lines of every answer."""
        fields = self.server_state.default_headers  # a new list every second, for it has the date
        if fields is not self._common_of:
            self._common_of, self._common = fields, _lines(fields) + _lines(SECURITY_HEADERS)
        return self._common

    @property
    def _idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _start(self) -> None:
        """Hand the request over to ASGI, as uvicorn does."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()
        if self.pipeline and len(self.pipeline) > MAX_PIPELINED:
            raise httptools.HttpParserError("too many requests in advance")

    def _give_up_waiting(self) -> None:
        """Let a request whose body does not come have the limits of slow callers, which the application sets."""
        incoming = self._take_incoming()
        if incoming is not None:
            self._start()
            for piece in incoming.pieces:
                super().on_body(piece)

    def _take_incoming(self) -> _Incoming | None:
        """The request that is being read, which then is so no more."""
        incoming, self._incoming = self._incoming, None
        if self._held:
            self._buffers.release(self._held)
            self._held = 0
        return incoming

    @property
    def idle_until(self) -> float | None:
        """When the connection will be closed if no request comes or the head does not end, by the event loop's clock.

        None while a request is answered and until the last byte of the answer has left.
        """
        return None if self.transport.is_closing() or self.transport.get_write_buffer_size() else self._until

    def watch(self, now: float) -> None:
        """Leave a caller who does not go on; to be called every second or so with the event loop's time.

        One who does not read its answer is left where the connection was closed as well, since what is in its buffer
        would keep it open until it is read.
        """
        self._give_up_waiting()
        if self._until is not None and now >= self._until:
            self.transport.close()
        if self.headers is not None and len(self.headers) > MAX_HEAD_BYTES:
            self.transport.abort()  # they come behind the body, where nothing else counts them
        elif not self.transport.get_write_buffer_size():
            self._unread_since = None
        elif self._unread_since is None or self._unread is not self.cycle:
            self._unread, self._unread_since = self.cycle, now
        elif now - self._unread_since > self._write_timeout:
            logger.info("a caller did not read its answer", extra={"client": self.client and self.client[0]})
            self.transport.abort()

    def _wait(self, seconds: float) -> None:
        """Close the connection unless the head of a request is complete by then."""
        self._until = self.loop.time() + seconds

    def _decline(self, rest: bytes) -> None:
        """Read the request again as if nothing had been offered: the parser takes its body for the new protocol."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(Malformed("CONNECT is for proxies"))
            return
        head = [method + b" " + self.url + b" HTTP/" + self.parser.get_http_version().encode()]
        head += [name + b": " + value for name, value in self.headers if name not in _OFFER]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*head, b"", rest]))

    def _refuse(self, error: RequestError) -> None:
        """Answer what never became a request, and hang up."""
        request_id = secrets.token_hex(8)
        status = HTTP_STATUS[error.code].value
        logger.warning("%s", error.message, extra={"request_id": request_id, "status": status})
        self.transport.write(refusal(error, request_id, self.server_state.default_headers))
        self.transport.close()


def refusal(error: RequestError, request_id: str, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A whole answer to what never became a request. The connection has to be closed after it."""
    status: HTTPStatus = HTTP_STATUS[error.code]
    body = error_body(error, request_id)
    headers = [
        *default_headers,
        *SECURITY_HEADERS,
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    return STATUS_LINE[status] + _lines(headers) + b"\r\n" + body


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([name + b": " + value + b"\r\n" for name, value in headers])


class Direct(Exchange):
    """A request that was read from a connection, and its answer. In uvicorn's eyes it is a cycle."""

    __slots__ = (
        "_body",
        "_protocol",
        "_target",
        "_working",
        "disconnected",
        "keep_alive",
        "message_event",
        "response_complete",
    )

    def __init__(self, protocol: Protocol, headers: Mapping[bytes, bytes], body: bytes) -> None:
        self._protocol = protocol
        self._target = protocol.url
        self._body = body
        self.headers = headers
        self.record = None
        parser = protocol.parser
        self.keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive()
        self.response_complete = self.disconnected = False
        self.message_event = _NOBODY_WAITS
        self._working: asyncio.Task[Any] | None = None

    def stop(self) -> None:
        """Stop work that waits for its turn: the caller has gone."""
        if self._working is not None:
            self._working.cancel()

    @property
    def method(self) -> str:
        return "POST"

    @property
    def path(self) -> str:
        return self.target.decode()

    @property
    def target(self) -> bytes:
        return self._target

    @property
    def client(self) -> str | None:
        client = self._protocol.client
        return None if client is None else client[0]

    @property
    def certified(self) -> bool:
        return bool(self._protocol.app_state.get(CERTIFIED))

    async def body(self, limit: int, seconds: float, buffers: Buffers) -> bytes:
        body, self._body = self._body, b""  # the connection keeps this exchange until the next request
        return body

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
        protocol = self._protocol
        transport, flow = protocol.transport, protocol.flow
        if transport.is_closing():
            raise ClientDisconnected
        body, content_type, headers = answer
        lines = b"content-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n" % (
            content_type,
            len(body),
            request_id.encode(),
        )
        if headers:
            lines += _lines(headers)
            self.keep_alive = self.keep_alive and (b"connection", b"close") not in headers
        if not self.keep_alive and (b"connection", b"close") not in headers:
            lines += b"connection: close\r\n"
        head = b"%b%b%b\r\n" % (STATUS_LINE[status], protocol.lines(), lines)
        if len(body) <= PIECE_BYTES and not flow.write_paused:
            transport.write(head + body)
        else:
            transport.write(head)
            # The next piece waits until the caller has read most of the one before it.
            for start in range(0, len(body), PIECE_BYTES):
                await flow.drain()
                if transport.is_closing():
                    raise ClientDisconnected
                transport.write(body[start : start + PIECE_BYTES])
        self.response_complete = True
        if not self.keep_alive:
            transport.close()
        protocol.on_response_complete()


#: In the place of the event on which uvicorn's cycles wait for more of a body.
_NOBODY_WAITS = asyncio.Event()
