"""HTTP/1.1 as uvicorn speaks it, and what it leaves open.

Requests that are not HTTP/1.1 are refused in JSON like all others and in their order, heads and trailers are limited in
size and time, all that a request holds in memory is charged to it, slow readers are disconnected, and an offer to
change to HTTP/2, which Java's client and `curl --http2` send with a body, is declined without losing the body.

Requests of busy routes, up to batches of some dozen reviews, do not go through ASGI, whose messages and tasks cost as
much as a short text does: from the last byte of the body the application is called, and it writes the response.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import select
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, cast

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from sentiment_conv1d.service.errors import HTTP_STATUS, HeadTooLarge, Malformed, Overloaded, RequestError
from sentiment_conv1d.service.network.buffers import BODY_FACTOR, Buffers, Charge
from sentiment_conv1d.service.network.turns import Turns
from sentiment_conv1d.service.rest.endpoint import Answer
from sentiment_conv1d.service.rest.native import error_body
from sentiment_conv1d.service.rest.server import framing, headers
from sentiment_conv1d.service.rest.server.body import (
    CERTIFIED,
    CHARGE,
    CONTEXT,
    DISCARD_BYTES,
    DISCARD_SECONDS,
    ClientDisconnected,
)
from sentiment_conv1d.service.rest.server.fast_path import Application, FastRequest, Wire
from sentiment_conv1d.service.telemetry.request_context import RequestContext

logger = logging.getLogger(__name__)

#: Bytes of a request line and headers, of trailers, or of what else there is between two pieces of a body.
MAX_HEAD_BYTES = 65_536

#: Headers of one request, each of which takes more memory than it has bytes.
MAX_HEADERS = 128

#: Bytes of a head, which idle connections may have as well, that are not charged.
_FREE_HEAD_BYTES = 4096

#: What arrives is parsed in slices of so many bytes, after each of which the limits are checked.
_SLICE_BYTES = 4096

#: Requests on one connection that may wait for the response to the one before them.
MAX_PIPELINED = 128

#: Memory that a request takes beside its head and body.
_REQUEST_BYTES = 4096

#: Seconds after a shutdown in which idle connections may still bring a request, since one may be on its way.
_FAREWELL_SECONDS = 0.5

_NO_HTTP = "what arrived is not HTTP/1.1"

_OFFER = {b"connection", b"upgrade", b"http2-settings"}


class Protocol(HttpToolsProtocol):
    """One connection; `lost` is called with it when it is lost.

    `application` answers requests of busy routes, if there is one to be asked directly. `draining` tells whether the
    service shuts down, so that responses ask callers to connect elsewhere. `header_timeout` and `write_timeout` are
    seconds for the head of a request and for a response; `watch` enforces them and the time of an idle connection.
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
        turns: Turns,
        draining: Callable[[], bool] = lambda: False,
        header_timeout: float,
        write_timeout: float,
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self._lost = lost
        self._application = application
        self._buffers = buffers
        self._turns = turns
        self._draining = draining
        self._header_timeout = header_timeout
        self._write_timeout = write_timeout
        self._make_parser()
        self._wire: Wire | None = None
        self._charge = Charge(buffers)  # of the request that is being read
        self._reading = self._in_head = self._begun = False  # that request: here in part, its head, with a cycle
        self._incoming: FastRequest | None = None  # the same where it is one
        self._running: FastRequest | None = None  # the one that is being answered
        self._served: RequestResponseCycle | None = None  # by ASGI, the last one
        self._received = bytearray()  # not parsed yet
        self._waiting = False  # for a turn to parse it
        self._steps = 0  # of all requests that were read
        self._undone = 0  # bytes since the last step
        self._discarded = 0  # bytes of a body whose response is complete
        self._objection: RequestError | None = None  # of ours, to what the parser is about to refuse
        self._refusal: RequestError | None = None  # after which nothing more is read
        self._refused = self._ending = False
        self._until: float | None = None
        self._common_of: object = None
        self._common = b""
        self._unsent = 0  # bytes
        self._unread: object = None  # the request whose response the caller does not read
        self._unread_since: float | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request as long to begin as any later one."""
        super().connection_made(transport)
        self._wait(self.timeout_keep_alive)
        if self.scheme == "https":
            self.app_state[CERTIFIED] = bool(transport.get_extra_info("peercert"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of requests that wait for a run, or are not complete: nobody is there to read their responses."""
        served, self._served = self._served, None
        if served is not None:  # uvicorn tells the latest request alone, and others may come before it
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
        self.cycle = None  # type: ignore[assignment]  # a circle: it knows whom to tell of its end
        context = None if served is None else cast(RequestContext | None, served.scope.get(CONTEXT))
        if self._running is not None:
            self._running.disconnect()
            context = self._running.context
        if context is not None and context.waiting is not None and not context.waiting.done():
            context.waiting.set_exception(ClientDisconnected())

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, now or in turn."""
        self._received += data
        if self._waiting or not self._turns.read(self, len(data)):
            self._waiting = True
            self.transport.pause_reading()

    # What the turns call.

    def read(self, until: float) -> bool:
        """Parse slices until that time of `perf_counter`; returns whether there is more."""
        received = self._received
        while received and not self.transport.is_closing():
            data = bytes(received[:_SLICE_BYTES])
            del received[:_SLICE_BYTES]
            self._parse(data)
            if received and perf_counter() >= until:
                return True
        received.clear()
        if self._waiting:
            self._waiting = False
            if not self.flow.read_paused and not self.transport.is_closing():
                self.transport.resume_reading()
        return False

    # What the parser calls.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._charge = Charge(self._buffers)
        self._reading = self._in_head = True
        self._begun = False
        self._steps += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or a trailer. As uvicorn does, within a limit."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        if len(self.headers) > MAX_HEADERS:
            self._object(HeadTooLarge(f"there are more than {MAX_HEADERS} headers, which is the limit"))

    def on_headers_complete(self) -> None:
        """Start the request, unless it is parsed again without its offer, or takes the fast path once complete."""
        self._in_head = False
        self._until = None
        self._steps += 1
        if self.parser.should_upgrade():
            return
        version = self.parser.get_http_version()
        if (objection := framing.objection(version, self.headers)) is not None:
            self._object(objection)
        if self._application is not None and self._idle and self.parser.get_method() == b"POST":
            fields = dict(self.headers)
            if not self.expect_100_continue and (match := self._application.direct(self.url, fields)) is not None:
                keep_alive = version != "1.0" and self.parser.should_keep_alive()
                wire = self._wire or self._make_wire()
                self._incoming = FastRequest(wire, match, self.url, fields, self._charge, keep_alive=keep_alive)
                return
        self._start()
        self.headers = []  # trailers, which nothing asks for, are no headers

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
        except Overloaded:  # the application, which waits for more of the body, refuses the request
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
            if self._idle:  # it was answered early
                self._wait(self.timeout_keep_alive)
            return
        self._begun = True
        self._running, self._incoming = self._incoming, None
        task = self.loop.create_task(self._serve(self._running))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    # What uvicorn's cycles and its server call.

    def on_response_complete(self) -> None:
        """Wait for the next request, or begin it if it is here. As uvicorn does, but for a timer in each request."""
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
        """Finish what has begun, and what may be on its way, and close."""
        self._ending = True
        self._expire_fast_path()
        if self._refused:
            self.transport.close()
        elif self._idle and self._until is not None:
            self._until = min(self._until, self.loop.time() + _FAREWELL_SECONDS)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """A request's turn has come, unless one on the fast path is before it, of which uvicorn does not know."""
        if self._running is not None:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))
            return

        self._served = cycle

        async def run(scope: Any, receive: Any, send: Any) -> None:
            async def send_last(message: Any) -> None:
                if message["type"] == "http.response.start" and self._is_last():
                    message = message | {"headers": [*message["headers"], headers.CLOSE]}
                # uvicorn is told a turn after a connection was closed, and must not write to it.
                cycle.disconnected = cycle.disconnected or self.transport.is_closing()
                await send(message)

            try:
                await app(scope, receive, send_last)
            finally:
                scope[CHARGE].release()
                cycle.body = bytearray()  # what nobody has asked for

        super()._start_asgi_task(cycle, run)

    # What the listener calls.

    @property
    def idle_until(self) -> float | None:
        """When the connection will be closed if no request comes or the head does not end, by the event loop's clock.

        None while a request is read or answered and until the last byte of the response has left. The rest of a request
        that has been answered does not keep a connection.
        """
        busy = self._waiting or self.transport.is_closing() or self.transport.get_write_buffer_size()
        return None if busy else self._until

    def watch(self, now: float) -> None:
        """Enforce time limits. Called every second or so with the event loop's time.

        A caller who does not read a response is disconnected even if the connection is closing already, since unsent
        bytes would keep it open.
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

    # Parsing.

    def _make_parser(self) -> None:
        """A parser that leaves versions to us, and what comes after the last request of a connection."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_version=True, lenient_data_after_close=True)

    def _parse(self, data: bytes) -> None:
        if self._refusal is not None or self.transport.is_closing():
            self._discard(len(data))
            return
        steps = self._steps
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            if len(self.pipeline) > MAX_PIPELINED:
                self.transport.abort()
            else:
                self._refuse(self._objection or Malformed(_NO_HTTP))
        else:
            if self._reading:
                self._check_undone(len(data), stepped=steps != self._steps)

    def _check_undone(self, count: int, *, stepped: bool) -> None:
        """Limit and charge what the parser keeps of a request: a head or trailers that are not complete."""
        self._undone = count if stepped else self._undone + count
        if stepped and self._in_head and self._idle:
            self._wait(self._header_timeout)
        try:
            if (self._in_head or not stepped) and self._undone > _FREE_HEAD_BYTES:
                self._charge.add(count)
            if self._undone > MAX_HEAD_BYTES:
                raise HeadTooLarge(f"the headers have more than {MAX_HEAD_BYTES} bytes, which is the limit")
        except RequestError as error:
            self._refuse(error)

    def _object(self, error: RequestError) -> None:
        """Have the parser stop, so that the request is refused."""
        self._objection = error
        raise httptools.HttpParserError

    def _decline(self, rest: bytes) -> None:
        """Parse the request again as if nothing had been offered: the parser takes its body for the new protocol."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(Malformed("CONNECT is for proxies"))
            return
        head = [method + b" " + self.url + b" HTTP/" + self.parser.get_http_version().encode()]
        head += [name + b": " + value for name, value in self.headers if name not in _OFFER]
        self._make_parser()
        self._received[:0] = b"\r\n".join([*head, b"", rest])

    def _discard(self, count: int) -> None:
        """Drop bytes that nobody reads any more, up to a limit."""
        self._discarded += count
        if self._discarded > DISCARD_BYTES:
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
        fields = self.server_state.default_headers  # a new list every second, for it has the date
        if fields is not self._common_of:
            self._common_of, self._common = fields, headers.lines(fields)
        return self._common

    async def _serve(self, request: FastRequest) -> None:
        assert self._application is not None
        try:
            await self._application.serve(request.match, request)
        except Exception:
            logger.exception("%s failed", request.match.path)
            self.transport.abort()
        finally:
            request.charge.release()
            self._running = None
            self.on_response_complete()

    def _start(self) -> None:
        """Hand the request over to ASGI, as uvicorn does, or have it wait for its turn."""
        url, fields, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += fields
        self.scope[CHARGE] = self._charge  # type: ignore[literal-required]
        super().on_headers_complete()
        self._begun = True
        if len(self.pipeline) > MAX_PIPELINED:
            raise httptools.HttpParserError("too many requests in advance")
        size = sum(len(name) + len(value) for name, value in fields)
        if self.pipeline or size > _FREE_HEAD_BYTES:
            try:
                self._charge.add(_REQUEST_BYTES + size)
            except Overloaded as error:
                self._object(error)

    def _leave_fast_path(self) -> None:
        """Let a request whose body does not come have the limits of slow callers, which the application sets."""
        request, self._incoming = self._incoming, None
        if request is not None:
            self._start()
            if body := request.take_body():
                super().on_body(body)

    def _expire_fast_path(self) -> None:
        try:
            self._leave_fast_path()
        except httptools.HttpParserError:
            self._refuse(self._objection or Malformed(_NO_HTTP))

    def _is_last(self) -> bool:
        """Whether the connection is to close after the response that is about to be written: nothing comes after it."""
        return self._draining() and not self.pipeline and not self._reading and not self._has_unread()

    def _has_unread(self) -> bool:
        """Whether bytes have arrived that are not parsed yet."""
        if self.transport.is_closing():
            return False
        if self._received:
            return True
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _wait(self, seconds: float) -> None:
        """Close the connection unless the request is complete, or its head, by then."""
        self._until = self.loop.time() + (min(seconds, _FAREWELL_SECONDS) if self._ending else seconds)

    # Refusals of what never became a request.

    def _refuse(self, error: RequestError) -> None:
        """Read nothing more, and refuse what arrived after the responses to all requests before it."""
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
        """Give up the request that is being read; whether it can be refused, since it has no response yet."""
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
        """The last response. What the caller still sends is read for a while, or a reset might overtake it."""
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


def refusal(error: RequestError, request_id: str, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A whole response to what never became a request. The connection has to be closed after it."""
    answer = Answer(error_body(error, request_id), headers=headers.of_error(error))
    common = headers.lines(default_headers)
    return headers.head(HTTP_STATUS[error.code].value, common, answer, request_id, close=True) + answer.body
