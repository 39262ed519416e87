"""Uvicorn's HTTP/1.1 connection with stricter limits, and with a fast path for requests.

Bytes that are not HTTP/1.1 are refused in JSON like all other requests, and in order. Heads and trailers are limited in
size and time. All memory of a request is charged to it. Slow readers are disconnected. An offer to change to HTTP/2,
which Java's client and `curl --http2` send with a body, is declined without losing the body.

The fast path goes around ASGI, whose messages and tasks cost as much as a short text does: the handler of a request is
called with its complete body and writes the response to the connection. It takes batches of up to some dozen reviews.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any, cast

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from sentiment_conv1d.service.errors import (
    HTTP_STATUS,
    ClientDisconnected,
    Overloaded,
    RequestError,
)
from sentiment_conv1d.service.network.buffers import BODY_FACTOR, Buffers
from sentiment_conv1d.service.network.turns import Turns
from sentiment_conv1d.service.rest.server import framing, headers
from sentiment_conv1d.service.rest.server.asgi import CERTIFIED, CHARGE, CONTEXT, DISCARD_SECONDS
from sentiment_conv1d.service.rest.server.fast_path import FastRequest, FindHandler, Wire
from sentiment_conv1d.service.rest.server.parsing import FREE_HEAD_BYTES, ParsingProtocol
from sentiment_conv1d.service.rest.server.refusal import refusal
from sentiment_conv1d.service.telemetry.request_context import RequestContext

logger = logging.getLogger(__name__)

#: Requests on one connection that may wait for the response to the one before them.
MAX_PIPELINED = 32

#: Memory of a waiting request and of each of its headers, beside the bytes of head and body: at most 2.4 kB and 137 B
#: were measured, with Python 3.11.
_REQUEST_BYTES = 2560
_HEADER_BYTES = 144

#: Seconds that idle connections stay open at shutdown, since a request may be on its way.
_FAREWELL_SECONDS = 0.5


class Protocol(ParsingProtocol):
    """One connection; `lost` is called with it when it is lost.

    `find_handler` finds the handlers of the fast path; without it all requests take ASGI. `draining` tells whether the
    service shuts down, so that responses ask clients to connect elsewhere. `header_timeout` and `write_timeout` are
    seconds for the head of a request and for a response; `watch` enforces them and the time of an idle connection.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        loop: asyncio.AbstractEventLoop,
        lost: Callable[[Protocol], None],
        *,
        find_handler: FindHandler | None = None,
        buffers: Buffers,
        turns: Turns,
        draining: Callable[[], bool] = lambda: False,
        header_timeout: float,
        write_timeout: float,
    ) -> None:
        super().__init__(config, server_state, loop, buffers, turns)
        self._lost = lost
        self._find_handler = find_handler
        self._draining = draining
        self._header_timeout = header_timeout
        self._write_timeout = write_timeout
        self._wire: Wire | None = None
        self._incoming: FastRequest | None = None  # the request that is being read, if it takes the fast path
        self._running: FastRequest | None = None  # the one that is being answered
        self._served: RequestResponseCycle | None = None  # the last one that took ASGI
        self._refused = self._ending = False
        self._until: float | None = None
        self._common_of: object = None  # the headers that these lines are made of
        self._common = b""
        self._unsent = 0  # bytes
        self._unread: object = None  # the request whose response the client does not read
        self._unread_since: float | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request as long to begin as any later one."""
        super().connection_made(transport)
        self._wait(self.timeout_keep_alive)
        if self.scheme == "https":
            self.app_state[CERTIFIED] = bool(transport.get_extra_info("peercert"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop requests that wait for a run or are not complete: nobody is there to read their responses."""
        served, self._served = self._served, None
        if served is not None:  # uvicorn tells only the latest request, and others may come before it
            served.disconnected = True
            served.message_event.set()
        super().connection_lost(exc)
        self._lost(self)
        self._buffers.release(self._unsent)
        if not self._begun:
            self._charge.release()
        for waiting, _ in self.pipeline:
            waiting.scope[CHARGE].release()  # type: ignore[literal-required]
        self.pipeline.clear()
        self.cycle = None  # type: ignore[assignment]  # a reference cycle
        context = None if served is None else cast(RequestContext | None, served.scope.get(CONTEXT))
        if self._running is not None:
            self._running.disconnect()
            context = self._running.context
        if context is not None and context.waiting is not None and not context.waiting.done():
            context.waiting.set_exception(ClientDisconnected())

    # Called by the parser.

    def on_headers_complete(self) -> None:
        """Start the request, unless it is parsed again without its upgrade, or takes the fast path once complete."""
        self._in_head = False
        self._until = None
        self._steps += 1
        if self.parser.should_upgrade():
            return
        version = self.parser.get_http_version()
        if (violation := framing.violation(version, self.headers)) is not None:
            self._stop_parser(violation)
        if self._find_handler is not None and self._idle and self.parser.get_method() == b"POST":
            fields = dict(self.headers)
            if not self.expect_100_continue and (handler := self._find_handler(self.url, fields)) is not None:
                keep_alive = version != "1.0" and self.parser.should_keep_alive()
                wire = self._wire or self._make_wire()
                self._incoming = FastRequest(wire, handler, self.url, fields, self._charge, keep_alive=keep_alive)
                return
        self._start()
        self.headers = []  # trailers are not headers

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._steps += 1
        try:
            if self._incoming is not None:
                self._incoming.add(body)
                return
            if self.cycle.response_complete:
                self._discard(len(body))
                return
            if self._charge.refusal is not None:
                return
            self._charge.add(BODY_FACTOR * len(body))
        except Overloaded:  # the application, which waits for the body, refuses the request
            self._leave_fast_path()
            self.cycle.message_event.set()
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._reading = False
        self._steps += 1
        if self.parser.should_upgrade():
            return
        if self._incoming is None:
            super().on_message_complete()
            if self._idle:  # it was answered before its end
                self._wait(self.timeout_keep_alive)
            return
        self._begun = True
        self._running, self._incoming = self._incoming, None
        task = self.loop.create_task(self._serve(self._running))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    # Called by uvicorn's cycles and its server.

    def on_response_complete(self) -> None:
        """Start the next request, or wait for it: uvicorn's method without a timer for each request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._refusal is not None:
            self._write_refusal(self._refusal)
        elif not self._reading:
            self._wait(self.timeout_keep_alive)
        elif self._in_head:
            self._wait(self._header_timeout)
        else:
            self._discarded = 0
            self._wait(DISCARD_SECONDS)

    def shutdown(self) -> None:
        """Finish the requests that are here or may be on their way, and close."""
        self._ending = True
        self._expire_fast_path()
        if self._refused:
            self.transport.close()
        elif self._idle and self._until is not None:
            self._until = min(self._until, self.loop.time() + _FAREWELL_SECONDS)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start a request, unless one on the fast path, of which uvicorn does not know, runs before it."""
        if self._running is not None:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))
            return

        self._served = cycle

        async def run(scope: Any, receive: Any, send: Any) -> None:
            async def send_last(message: Any) -> None:
                if message["type"] == "http.response.start" and self._is_last():
                    message = message | {"headers": [*message["headers"], headers.CLOSE]}
                # A connection that is closing is only lost in the next turn, and must not be written to.
                cycle.disconnected = cycle.disconnected or self.transport.is_closing()
                await send(message)

            try:
                await app(scope, receive, send_last)
            finally:
                scope[CHARGE].release()
                cycle.body = bytearray()  # the part that nobody has read

        super()._start_asgi_task(cycle, run)

    # Called by the listener.

    @property
    def idle_until(self) -> float | None:
        """When the connection will be closed if no request comes or the head does not end, by the event loop's clock.

        None while a request is read or answered and until the last byte of the response has left. The rest of a request
        that has been answered does not keep a connection.
        """
        active = self._waiting or self.transport.is_closing() or self.transport.get_write_buffer_size()
        return None if active else self._until

    def watch(self, now: float) -> None:
        """Enforce time limits. Called every second or so with the event loop's time.

        A slow reader is disconnected even if the connection is closing already, since unsent bytes keep it open.
        """
        self._expire_fast_path()
        overdue = self._until is not None and now >= self._until and not self._waiting
        if overdue and (self._reading or self._refused or not self._has_unread()):
            self.transport.close()
        unsent = self.transport.get_write_buffer_size()
        self._buffers.add(unsent - self._unsent)
        self._unsent = unsent
        request = self._running or self.cycle
        if not unsent:
            self._unread_since = None
        elif self._unread_since is None or self._unread is not request:
            self._unread, self._unread_since = request, now
        elif now - self._unread_since > self._write_timeout:
            logger.info("a caller did not read its answer", extra={"client": self.client and self.client[0]})
            self.transport.abort()

    # Requests.

    @property
    def _idle(self) -> bool:
        """Whether no request is being answered."""
        return self._running is None and (self.cycle is None or self.cycle.response_complete)

    def _make_wire(self) -> Wire:
        client = None if self.client is None else self.client[0]
        certified = bool(self.app_state.get(CERTIFIED))
        self._wire = Wire(self.transport, self.flow, client, certified, self._common_lines, self._is_last)
        return self._wire

    def _common_lines(self) -> bytes:
        fields = self.server_state.default_headers  # a new list every second, when uvicorn sets the date
        if fields is not self._common_of:
            self._common_of, self._common = fields, headers.lines(fields)
        return self._common

    async def _serve(self, request: FastRequest) -> None:
        try:
            await request.handler(request)
        except Exception:
            logger.exception("%s failed", request.target.decode())
            self.transport.abort()
        finally:
            request.charge.release()
            self._running = None
            self.on_response_complete()

    def _start(self) -> None:
        """Hand the request over to ASGI, as uvicorn does, or queue it behind the one before."""
        url, fields, expects = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.expect_100_continue = url, expects
        self.headers += fields
        self.scope[CHARGE] = self._charge  # type: ignore[literal-required]
        super().on_headers_complete()
        self._begun = True
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()
            raise httptools.HttpParserError
        size = sum(len(name) + len(value) for name, value in fields)
        if self.pipeline or size > FREE_HEAD_BYTES:
            try:
                # The parser's slices were charged, except for the first and the last one of a head.
                self._charge.add(_REQUEST_BYTES + _HEADER_BYTES * len(fields) + min(size, 2 * FREE_HEAD_BYTES))
            except Overloaded as error:
                self._stop_parser(error)

    def _leave_fast_path(self) -> None:
        """Hand a request whose body is slow to arrive over to ASGI, where the time for it is limited."""
        request, self._incoming = self._incoming, None
        if request is not None:
            self._start()
            if body := request.take_body():
                super().on_body(body)

    def _expire_fast_path(self) -> None:
        try:
            self._leave_fast_path()
        except httptools.HttpParserError:
            self._refuse_unparsed()

    def _is_last(self) -> bool:
        """Whether the connection closes after the response that is about to be written, since no request follows."""
        return self._draining() and not self.pipeline and not self._reading and not self._has_unread()

    def _began_head(self) -> None:
        if self._idle:
            self._wait(self._header_timeout)

    def _wait(self, seconds: float) -> None:
        """Close the connection unless the request is complete, or its head, by then."""
        self._until = self.loop.time() + (min(seconds, _FAREWELL_SECONDS) if self._ending else seconds)

    # Refusals of bytes that are not a request.

    def _refuse(self, error: RequestError) -> None:
        """Read nothing more, and send a refusal after the responses to all requests before it."""
        if self._reading and self._begun and not self._break_off():
            self.transport.close()
            return
        self._refusal = error
        self._reading = False
        self.headers = []
        if self._idle:
            self._write_refusal(error)
        else:
            self.flow.pause_reading()

    def _break_off(self) -> bool:
        """Abandon the request that is being read; returns whether it can be refused, since it has no response yet."""
        cycle = self.cycle
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            self._charge.release()
            return True
        if cycle.response_started:
            return False
        cycle.disconnected = cycle.response_complete = True
        cycle.message_event.set()
        return True

    def _write_refusal(self, error: RequestError) -> None:
        """Send the last response. The client's bytes are read for a while, or a reset might overtake it."""
        request_id = secrets.token_hex(8)
        logger.warning("%s", error.message, extra={"request_id": request_id, "status": HTTP_STATUS[error.code].value})
        self.transport.write(refusal(error, request_id, self.server_state.default_headers))
        self._refused = True
        self._incoming = None
        if not self._begun:
            self._charge.release()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._discarded = 0
            self._wait(DISCARD_SECONDS)
        else:
            self.transport.close()
