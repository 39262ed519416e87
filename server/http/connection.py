"""Uvicorn's HTTP/1.1 connection with stricter limits and a fast path.

Bytes that are not HTTP/1.1 get an error in JSON, after the responses to the requests before them. Heads and trailers
are limited in size and time. All memory of a request is charged. Slow readers are disconnected. An offer to upgrade to
HTTP/2, which Java's client and `curl --http2` send with a body, is declined without losing the body.

The fast path bypasses ASGI, whose messages and tasks cost as much as a short text. The handler of a request is called
with the complete body and writes the response to the connection. It is used for batches of up to a few dozen reviews,
and for answers that exist already, such as health and documents, which need no task. Large ones of these are sent piece
by piece in the turns of the connection.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from sentiment_conv1d.server.errors import ClientDisconnected, HeadTooLarge, Overloaded, RequestError, Unavailable
from sentiment_conv1d.server.http import framing, headers
from sentiment_conv1d.server.http.asgi import CERTIFIED, CHARGE, PIECE_BYTES, TASK
from sentiment_conv1d.server.http.fast_path import FastRequest, FindHandler
from sentiment_conv1d.server.http.pacing import ASGI_SECONDS, FREE_HEAD_BYTES, PacedConnection
from sentiment_conv1d.server.http.refusal import refusal
from sentiment_conv1d.server.log_limit import LogLimit
from sentiment_conv1d.server.network.buffers import BODY_FACTOR, Buffers, Charge
from sentiment_conv1d.server.network.shares import LOCAL, FindCaller, evicted
from sentiment_conv1d.server.network.turns import Turns

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

#: The most requests of a connection that wait for the response to an earlier one.
MAX_PIPELINED = 32

#: Memory of a waiting request, and of each of its headers, without the bytes of head and body. At most 2.4 kB and 137 B
#: were measured with Python 3.11.
_REQUEST_BYTES = 2560
_HEADER_BYTES = 144

#: Seconds for which the rest of a body whose response is complete, and what follows the last response, are read and
#: discarded. Otherwise a client that writes before it reads would get a connection reset instead of the response.
DISCARD_SECONDS = 5.0

#: Seconds that idle connections stay open at shutdown, because a request can be on its way.
FAREWELL_SECONDS = 0.5


#: Returns whether a request shows that its client has access, by its method, target and headers, and by whether the
#: client has presented a certificate.
Admits = Callable[[bytes, bytes, Mapping[bytes, bytes], bool], bool]


class HttpConnection(PacedConnection):
    """One connection. It calls `lost` with itself when the connection is lost, and `failed` if what arrives is refused.

    It calls `admit` with itself when the head of a request shows that the client has access, by default the first one.
    `find_handler` and `find_document` find the handlers of the fast path; without them, all requests go through ASGI.
    `find_caller` returns who sends a request with these headers; if it is None, or returns None, it is the address.
    `draining` returns whether the service is shutting down, so that responses ask clients to close the connection.
    `header_timeout` and `write_timeout` are seconds for the head of a request and for reading a response.
    `enforce_timeouts` enforces them and the idle timeout.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        loop: asyncio.AbstractEventLoop,
        lost: Callable[[HttpConnection], None],
        admit: Callable[[HttpConnection], None] = lambda connection: None,
        *,
        admits: Admits | None = None,
        find_handler: FindHandler | None = None,
        find_document: FindHandler | None = None,
        find_caller: FindCaller | None = None,
        buffers: Buffers,
        turns: Turns,
        draining: Callable[[], bool] = lambda: False,
        failed: Callable[[str], None] = lambda reason: None,
        header_timeout: float,
        write_timeout: float,
    ) -> None:
        super().__init__(config, server_state, loop, buffers, turns)
        self._lost = lost
        self._admit = admit
        self._admits = admits
        self._find = {b"POST": find_handler, b"GET": find_document}
        self._find_caller = find_caller
        self._draining = draining
        self._failed = failed
        self._header_timeout = header_timeout
        self._write_timeout = write_timeout
        self._served: RequestResponseCycle | None = None  # the last request that went through ASGI
        self._refusal: RequestError | None = None  # the last response, which is still to be written
        self._half_closed = False  # whether the last response is written
        self._ending = False  # whether the service is shutting down
        self._until: float | None = None
        self._common_of: object = None  # the headers from which these lines were built
        self._common = b""
        self._unsent = Charge(buffers)  # the bytes that are written and that the client has not read
        self._unread: object = None  # the request whose response is paused because the client does not read
        self._unread_since: float | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the idle timeout for the first request."""
        super().connection_made(transport)
        self._make_parser()
        transport.set_write_buffer_limits(PIECE_BYTES)
        self._wait(self.timeout_keep_alive)
        self._peer = None if self.client is None else self.client[0]
        self._caller = self._peer or LOCAL
        self._certified = self.scheme == "https" and bool(transport.get_extra_info("peercert"))
        self.app_state[CERTIFIED] = self._certified

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the requests that wait or are incomplete."""
        if (served := self._served) is not None:  # uvicorn informs only the latest request
            served.disconnected = True
            served.message_event.set()
            if (task := served.scope.get(TASK)) is not None:
                task.cancel()  # type: ignore[attr-defined]
        super().connection_lost(exc)
        self._lost(self)
        self._unsent.release()
        if not self._started:
            self._charge.release()
        for waiting, _ in self.pipeline:
            waiting.scope[CHARGE].release()  # type: ignore[literal-required]
        self.pipeline.clear()
        self._stop_sending()
        self.cycle = self._served = self.scope = None  # type: ignore[assignment]  # reference cycles

    # Called by the parser.

    def on_headers_complete(self) -> None:
        """Start the request, unless it is parsed again without its upgrade, or is on the fast path."""
        self._in_head = False
        self._until = None
        self._buffered_by_parser = 0
        if self.parser.should_upgrade():
            return
        version = self.parser.get_http_version()
        framing.check(self.url, version, self.headers)
        fields = dict(self.headers)
        if self._find_caller is not None and (caller := self._find_caller(fields)) is not None:
            self._charge.assign(caller)
        method = self.parser.get_method()
        if not self.admitted and (self._admits is None or self._admits(method, self.url, fields, self._certified)):
            self._admit(self)
        find = self._find.get(method)
        if find is not None and self._idle and not self.expect_100_continue:
            peer, charge = self._peer, self._charge
            handler = find(self.url, fields, charge)
            if handler is not None:
                keep_alive = version != "1.0" and self.parser.should_keep_alive()
                self._incoming = FastRequest(
                    method.decode(),
                    self.url,
                    fields,
                    peer,
                    self.scheme or "http",
                    version,
                    self._certified,
                    charge,
                    handler,
                    self,
                    keep_alive,
                )
                return
        self._start()
        self.headers = []  # trailers are not headers

    def on_body(self, body: bytes) -> None:
        """Handle a piece of a body."""
        self._buffered_by_parser = 0
        try:
            if self._incoming is not None:
                self._incoming.add(body)
            elif self.cycle.response_complete:
                self._discard(len(body))
            elif self._charge.refusal is None:
                self._charge.add(BODY_FACTOR * len(body))
                super().on_body(body)
        except Overloaded as error:  # the application waits for the body, and rejects the request
            self._charge.refusal = error
            self._leave_fast_path()
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Handle the last byte of a request."""
        self._reading = False
        self._buffered_by_parser = 0
        if self.parser.should_upgrade():
            return
        if self._incoming is None:
            super().on_message_complete()
            self._turns.spend(ASGI_SECONDS)  # a request that has waited for its body goes on
            if not self.pipeline:  # a large body pauses reading, but a disconnection has to be noticed
                self.flow.resume_reading()
            if self._idle:  # it was answered before it was complete
                self._wait(self.timeout_keep_alive)
            return
        self._started = True
        request, self._incoming = self._incoming, None
        self.url, self.headers = b"", []
        self._answer(request)

    # Called by uvicorn.

    def on_response_complete(self) -> None:
        """Start the next request, or wait for it. Unlike uvicorn's method, this needs no timer per request."""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_next()
        else:
            self._await_request()

    def _await_request(self) -> None:
        """Wait for a request, or reject what has arrived instead."""
        if self._refusal is not None:
            self._write_refusal(self._refusal)
        elif not self._reading:
            self._wait(self.timeout_keep_alive)
        elif self._in_head:
            self._wait(self._header_timeout)
        else:
            self._discarded = 0
            self._wait(DISCARD_SECONDS)

    def shutdown(self) -> None:
        """Finish the requests that have arrived or are on their way, then close."""
        self._ending = True
        if self._half_closed:
            self.transport.close()
        elif self._idle and self._until is not None:
            self._until = min(self._until, self.loop.time() + FAREWELL_SECONDS)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start a request, unless a request on the fast path, which uvicorn does not know, runs before it."""
        if self._answering is not None:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))
            return

        self._turns.spend(ASGI_SECONDS)
        self._served = cycle

        async def run(scope: Any, receive: Any, send: Any) -> None:
            async def send_last(message: Any) -> None:
                # A client that waits for 100 can leave out the body, or send it.
                start = message["type"] == "http.response.start"
                if start and (self.is_last() or cycle.waiting_for_100_continue):
                    message = message | {"headers": [*message["headers"], headers.CLOSE]}
                # A closing connection is lost in the next turn of the event loop, and must not be written to.
                cycle.disconnected = cycle.disconnected or self.transport.is_closing()
                if cycle.disconnected and message.get("more_body"):
                    raise ClientDisconnected
                ends = not (start or message.get("more_body") or cycle.keep_alive)
                early = ends and self._reading and cycle is self.cycle
                cycle.keep_alive = cycle.keep_alive or early  # otherwise uvicorn closes the connection
                await send(message)
                if early and not self.transport.is_closing():
                    self._half_close()

            try:
                await app(scope, receive, send_last)
            except (asyncio.CancelledError, ClientDisconnected):
                if not cycle.disconnected:
                    raise
            finally:
                scope.pop(TASK, None)  # the task refers to the model that it has used
                scope[CHARGE].release()
                scope.update(headers=[], path="", raw_path=b"", query_string=b"")  # the connection keeps the last scope
                cycle.body = bytearray()  # the bytes that the client has not read

        super()._start_asgi_task(cycle, run)

    # Called by the listener.

    @property
    def idle_until(self) -> float | None:
        """The event loop's time at which the connection closes unless a request begins, or its head ends.

        None while a request is read or answered, and until the last byte of the response is sent. The rest of a request
        that was answered early does not keep the connection open.
        """
        active = self._waiting or self.transport.is_closing() or self.transport.get_write_buffer_size()
        return None if active else self._until

    @property
    def running(self) -> bool:
        """Whether the client waits for an answer, or for the turn in which what it has sent is read."""
        served = self._served
        asgi = served is not None and not (served.response_complete or served.more_body)
        return asgi or self._answering is not None or self._waiting

    def enforce_timeouts(self, now: float) -> None:
        """Enforce time limits. Called about once a second with the event loop's time.

        A slow reader is disconnected even if the connection is closing, because unsent bytes keep it open.
        """
        if not self._waiting:  # otherwise the server is slow, not the client
            try:
                self._leave_fast_path()
            except (httptools.HttpParserError, RequestError) as error:
                self._refuse_unparsed(error)
        overdue = self._until is not None and now >= self._until and not self._waiting
        if overdue and (self._reading or self._half_closed or not self._has_unread()):
            self.transport.close()
        unsent = self.transport.get_write_buffer_size()
        self._unsent.replace(unsent, self._charge.caller)
        request = (self.cycle, self._answers)
        if not unsent:
            self._unread = self._unread_since = None
        elif self._unread_since is None or self._unread != request:
            self._unread, self._unread_since = request, now
        elif now - self._unread_since > self._write_timeout:
            logger.info("a caller did not read its answer in time", extra={"client": self._peer})
            self.transport.abort()

    # Running requests.

    def common_lines(self) -> bytes:
        fields = self.server_state.default_headers  # uvicorn creates a new list every second, with the current date
        if fields is not self._common_of:
            self._common_of, self._common = fields, headers.lines(fields)
        return self._common

    def _start(self) -> None:
        """Pass the request to ASGI, as uvicorn does, or queue it behind the previous one."""
        url, fields, expects = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.expect_100_continue = url, expects
        self.headers += fields
        self.scope[CHARGE] = self._charge  # type: ignore[literal-required]
        super().on_headers_complete()
        self._started = True
        if len(self.pipeline) > MAX_PIPELINED:
            self._failed("limit")
            self.transport.abort()
            raise httptools.HttpParserError
        size = sum(len(name) + len(value) for name, value in fields)
        if self.pipeline or size > FREE_HEAD_BYTES:
            # The slices were charged, except for the first and the last one of a head.
            self._charge.add(_REQUEST_BYTES + _HEADER_BYTES * len(fields) + min(size, 2 * FREE_HEAD_BYTES))

    def _evict(self, charge: Charge) -> bool:
        """Reject the request whose body is being read, or cut an answer that is not read."""
        if charge is self._charge and self._reading and not self._in_head:
            charge.refusal = evicted(charge.caller)
            try:
                self._leave_fast_path()
            except (httptools.HttpParserError, RequestError) as other:
                self._refuse_unparsed(other)
            else:
                self.cycle.body = bytearray()
                self.cycle.message_event.set()
            return True
        answering, served = self._answering, self._served
        sending = (answering is not None and answering.charge is charge and answering.unsent) or (
            served is not None and served.scope.get(CHARGE) is charge and served.response_started
        )
        if sending and self._unread_since is not None and self.flow.write_paused:
            evicted(charge.caller)
            self.transport.abort()
            return True
        return False

    def _leave_fast_path(self) -> None:
        """Pass a request whose body arrives slowly to ASGI, which limits the time for it."""
        request, self._incoming = self._incoming, None
        if request is not None:
            self._start()
            super().on_body(request.take_body())

    def is_last(self) -> bool:
        """Return whether the connection closes after the next response, because no request follows."""
        return self._draining() and not self.pipeline and not self._reading and not self._has_unread()

    def _began_head(self) -> None:
        if self._idle:
            self._wait(self._header_timeout)

    def _wait(self, seconds: float) -> None:
        """Set the time at which the connection closes unless the request, or its head, is complete."""
        self._until = self.loop.time() + (min(seconds, FAREWELL_SECONDS) if self._ending else seconds)

    # Rejecting bytes that are not a request.

    def _refuse(self, error: RequestError) -> None:
        """Stop reading, and send an error after the responses to all earlier requests."""
        if not isinstance(error, Unavailable):
            self._failed("limit" if isinstance(error, HeadTooLarge | Overloaded) else "malformed")
        if self._reading and self._started and not self._break_off():
            self.transport.close()
            return
        self._refusal = error.with_traceback(None)  # its frames refer to this connection: a reference cycle
        self._discarding = True
        self._reading = False
        self.headers = []
        if self._idle:
            self._write_refusal(error)
        else:
            self.flow.pause_reading()

    def _break_off(self) -> bool:
        """Stop the request that is being read. Returns whether an error can be sent, because it has no response yet."""
        cycle = self.cycle
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            self._charge.release()
            return True
        if cycle.response_started:
            return False
        cycle.disconnected = cycle.response_complete = True
        cycle.waiting_for_100_continue = False  # the response is not preceded by one
        cycle.message_event.set()
        return True

    def _write_refusal(self, error: RequestError) -> None:
        """Send the last response."""
        request_id = secrets.token_hex(8)
        logger.warning("%s", error.message, extra={"request_id": request_id, "status": error.http_status.value})
        self.transport.write(refusal(error, request_id, self.server_state.default_headers))
        self._incoming = None
        if not self._started:
            self._charge.release()
        self._half_close()

    def _half_close(self) -> None:
        """Close the connection after the last response, as soon as the client has done so."""
        self._discarding = self._half_closed = True
        self._discarded = 0
        self._wait(DISCARD_SECONDS)
        self.transport.write_eof()
