"""One HTTP/1.1 connection.

It reads and answers in turns with other connections. Requests are answered in order. Bytes that are not HTTP/1.1 get an
error in JSON, after the responses to the requests before them. Heads and trailers are limited in size and time. All
memory of a request is charged. Slow readers are disconnected. An offer to upgrade to HTTP/2, which Java's client and
`curl --http2` send with a body, is declined without losing the body.

The fast path bypasses ASGI, whose messages and tasks cost as much as a short text. The handler of a request is called
with the complete body and writes the response to the connection. It is used for batches of up to a few dozen reviews,
and for answers that exist already, such as health and documents, which need no task. Large ones of these are sent piece
by piece in the turns of the connection.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from enum import Enum, auto
from time import perf_counter
from typing import Any
from urllib.parse import unquote

from uvicorn import Config
from uvicorn.server import ServerState

from sentiment_conv1d.server.errors import HeadTooLarge, Overloaded, RequestError, Unavailable
from sentiment_conv1d.server.http import framing, headers
from sentiment_conv1d.server.http.asgi import CERTIFIED, CHARGE, PIECE_BYTES, Application, Scope
from sentiment_conv1d.server.http.asgi_run import AsgiRun
from sentiment_conv1d.server.http.cycle import ASGI_SECONDS, BODY, DONE, HEAD, SENDING, RequestCycle
from sentiment_conv1d.server.http.fast_path import FindHandler
from sentiment_conv1d.server.http.parser import FREE_HEAD_BYTES, Fields, RequestParser
from sentiment_conv1d.server.http.refusal import refusal
from sentiment_conv1d.server.http.unread import Unread
from sentiment_conv1d.server.log_limit import LogLimit
from sentiment_conv1d.server.network.buffers import Buffers
from sentiment_conv1d.server.network.receiver import has_unread
from sentiment_conv1d.server.network.shares import LOCAL, FindCaller
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

#: Bytes that are discarded after the last response, or of a body whose response is complete.
DISCARD_BYTES = 64 * 1024 * 1024

#: Seconds that idle connections stay open at shutdown, because a request can be on its way.
FAREWELL_SECONDS = 0.5

#: Bytes that are parsed between two checks of the limits: of heads, which are much work, and of a body.
_SLICE_BYTES = 4096
_BODY_SLICE_BYTES = 16_384

#: Seconds of the event loop that the next piece of a large answer takes.
_PIECE_SECONDS = 0.00003

#: Returns whether a request shows that its client has access, by its method, target and headers, and by whether the
#: client has presented a certificate.
Admits = Callable[[bytes, bytes, Mapping[bytes, bytes], bool], bool]


class State(Enum):
    """What a connection does with the bytes that arrive."""

    OPEN = auto()  # parses them
    REFUSING = auto()  # discards them: the requests before the invalid one are answered, and then it is refused
    HALF_CLOSED = auto()  # discards them until the client closes the connection: the last response is written


class Turn(Enum):
    """Whether it is a connection's turn to parse, to send a piece of an answer, or to start a pipelined request."""

    NONE = auto()  # there is nothing to do
    QUEUED = auto()
    NOW = auto()


OPEN, REFUSING, HALF_CLOSED = State
NONE, QUEUED, NOW = Turn


class HttpConnection(asyncio.Protocol):
    """One connection. It calls `lost` with itself when the connection is lost, and `failed` if what arrives is refused.

    It calls `admit` with itself when the head of a request shows that the client has access, by default the first one.
    `find_handler` and `find_document` find the handlers of the fast path; without them, all requests go through ASGI.
    `find_caller` returns who sends a request with these headers; if it is None, or returns None, it is the address.
    `draining` returns whether the service is shutting down, so that responses ask clients to close the connection.
    `header_timeout` and `write_timeout` are seconds for the head of a request and for reading a response.
    `enforce_timeouts` enforces them and the idle timeout.
    """

    #: With more than 30 attributes in a dictionary, an instance is slower and larger.
    __slots__ = (
        "__weakref__",
        "_admit",
        "_admits",
        "_answered_caller",
        "_answering",
        "_answers",
        "_application",
        "_asgi_version",
        "_buffers",
        "_caller",
        "_certified",
        "_client",
        "_common",
        "_common_of",
        "_discarded",
        "_draining",
        "_ending",
        "_failed",
        "_find",
        "_find_caller",
        "_header_timeout",
        "_keep_alive_timeout",
        "_loop",
        "_lost",
        "_parser",
        "_peer",
        "_reading",
        "_reading_paused",
        "_received",
        "_refusal",
        "_scheme",
        "_server",
        "_server_state",
        "_state",
        "_turn",
        "_turns",
        "_unread",
        "_until",
        "_waiting",
        "_writable",
        "admitted",
        "tasks",
        "transport",
        "write_paused",
    )

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
        if not config.loaded:
            config.load()
        self._application: Application = config.loaded_app
        self._asgi_version = config.asgi_version
        self._keep_alive_timeout = config.timeout_keep_alive
        self._server_state = server_state
        self.tasks = server_state.tasks
        self._loop = loop
        self._lost = lost
        self._admit = admit
        self._admits = admits
        self._find = {b"POST": find_handler, b"GET": find_document}
        self._find_caller = find_caller
        self._buffers = buffers
        self._turns = turns
        self._draining = draining
        self._failed = failed
        self._header_timeout = header_timeout
        self.admitted = False  # whether the client has shown that it has access
        self._parser: RequestParser | None = None  # while the connection is established: it is a reference cycle
        self._state = OPEN
        self._turn = NONE
        self._received = b""  # bytes that are not parsed yet
        self._reading: RequestCycle | None = None  # the request that arrives, until its last byte
        self._waiting: deque[RequestCycle] = deque()  # requests that wait for the answers to earlier ones
        self._answering: RequestCycle | None = None  # the request that is answered, until its answer is written
        self._answers = 0  # that were begun
        self._answered_caller = ""  # of the last one of these
        self._refusal: RequestError | None = None  # the last response, while the connection is refusing
        self._discarded = 0  # bytes
        self._until: float | None = None  # when the connection is closed, unless a request or its head is complete
        self._ending = False  # whether the service is shutting down
        self._reading_paused = False
        self.write_paused = False  # whether the client has to read first
        self._writable = asyncio.Event()
        self._unread = Unread(buffers, write_timeout)
        self._common_of: object = None  # the headers from which these lines were built
        self._common = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the idle timeout for the first request."""
        self.transport: asyncio.Transport = transport
        transport.set_write_buffer_limits(PIECE_BYTES)
        self._parser = RequestParser(self)
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._certified = self._scheme == "https" and bool(transport.get_extra_info("peercert"))
        self._server, self._client = _addresses(transport.get_extra_info("socket"))
        self._peer = None if self._client is None else self._client[0]
        self._caller = self._peer or LOCAL
        self._wait(self._keep_alive_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all requests."""
        for cycle in {self._reading, self._answering, *self._waiting}:
            if cycle is not None:
                cycle.cancel()
        self._reading = self._answering = None
        self._waiting.clear()
        self._unread.release()
        self._writable.set()
        if self._parser is not None:
            self._parser.close()
            self._parser = None
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, now or when it is this connection's turn."""
        if self._state is not OPEN and self._turn is NONE:
            self._discard(len(data))
            return
        self._received += data
        self._take_turn(len(data))

    def pause_writing(self) -> None:
        """Send nothing more until the client has read most of what was written."""
        self.write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """Continue an answer when the client has read most of what was written."""
        self.write_paused = False
        self._writable.set()
        self.send_next()

    def read(self, until: float) -> bool:
        """Answer and parse until `until`, a time of `perf_counter`. Returns whether there is more to do."""
        self._turn = NOW
        while not self.transport.is_closing():
            if self._can_answer:
                self._continue_answering()
            size = self._slice_size()
            data, self._received = self._received[:size], self._received[size:]
            if data:
                self._parse(data)
            if not self._received and not self._can_answer:
                break
            if perf_counter() >= until:
                self._turn = QUEUED
                return True
        self._turn = NONE
        self._received = b""
        if self._reading_paused:
            self.control_reading()
        return False

    def _slice_size(self) -> int:
        if self._reading is None or self._reading.phase is not BODY:
            return _SLICE_BYTES
        return max(_SLICE_BYTES, min(self._reading.remaining, _BODY_SLICE_BYTES))

    def _take_turn(self, size: int) -> None:
        """Work now or when it is this connection's turn; `size` is the number of bytes to parse or to send."""
        if self._turn is NONE and self._turns.read_or_wait(self, size):
            self._turn = QUEUED
            self.control_reading()

    @property
    def _can_answer(self) -> bool:
        """Whether there is a request to start, or a piece of an answer to send."""
        if self._answering is None:
            return bool(self._waiting)
        return bool(self._answering.unsent) and not self.write_paused

    def _continue_answering(self) -> None:
        if self._answering is None:
            self._start(self._waiting.popleft())
        else:
            self._turns.spend(_PIECE_SECONDS)
            self._answering.send_piece()

    def control_reading(self) -> None:
        """Receive more, unless what has arrived waits: for a turn, for earlier answers, or for the application."""
        paused = (
            self._turn is QUEUED
            or self._state is REFUSING
            or bool(self._waiting)
            or (self._reading is not None and self._reading.backlogged)
        )
        if paused != self._reading_paused and not self.transport.is_closing():
            self._reading_paused = paused
            if paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _parse(self, data: bytes) -> None:
        if self._state is not OPEN:
            self._discard(len(data))
            return
        assert self._parser is not None
        try:
            again = self._parser.feed(data)
        except RequestError as error:
            if not self.transport.is_closing():
                self._refuse(error)
            return
        if again:  # a request without its upgrade
            assert self._reading is not None
            self._reading.release()
            self._reading = None
            self._received = again + self._received

    def _discard(self, count: int) -> None:
        """Count discarded bytes, up to a limit."""
        self._discarded += count
        if self._discarded > DISCARD_BYTES:
            self.transport.abort()

    def request_began(self) -> None:
        """Begin to read a request."""
        self._reading = RequestCycle(
            self, self._buffers, self._caller, self._peer, self._scheme, certified=self._certified
        )

    def head_began(self) -> None:
        """Limit the time for the rest of the head, if the client does not wait for an answer meanwhile."""
        if self._idle:
            self._wait(self._header_timeout)

    def hold(self, count: int) -> None:
        """Charge the request that is read."""
        assert self._reading is not None
        self._reading.charge.add(count)

    def head_received(self, method: bytes, target: bytes, version: str, fields: Fields, keep_alive: bool) -> None:
        """Find out who sends the request, and who answers it."""
        cycle = self._reading
        assert cycle is not None
        self._until = None
        by_name = dict(fields)
        cycle.head_received(method, target, version, fields, keep_alive, by_name)
        if self._find_caller is not None and (caller := self._find_caller(by_name)) is not None:
            cycle.charge.assign(caller)
        if not self.admitted and (self._admits is None or self._admits(method, target, by_name, self._certified)):
            self._admit(self)
        find = self._find.get(method)
        if find is not None and self._idle and b"expect" not in by_name:
            cycle.handler = find(target, by_name, cycle.charge)
            if cycle.handler is not None:
                cycle.phase = BODY
                return
        self._answer_over_asgi(cycle)

    def body_received(self, data: bytes) -> None:
        """Pass on a piece of a body, or discard it because the answer is complete."""
        cycle = self._reading
        assert cycle is not None
        if cycle.phase is DONE:
            self._discard(len(data))
            return
        try:
            cycle.body_received(data)
        except Overloaded as error:  # the application rejects the request
            cycle.charge.refusal = error
            self._leave_fast_path()
            cycle.body_refused()

    def request_received(self) -> None:
        """Answer a complete request, or tell the application that it is complete."""
        cycle, self._reading = self._reading, None
        assert cycle is not None
        if cycle.phase is BODY:
            self._start(cycle)
            return
        cycle.body_complete()
        self._turns.spend(ASGI_SECONDS)  # a request that has waited for its body goes on
        self.control_reading()
        if self._idle:  # it was answered before it was complete
            self._wait(self._keep_alive_timeout)

    def _answer_over_asgi(self, cycle: RequestCycle) -> None:
        """Let the application answer a request, after the requests before it. Raises `Overloaded`."""
        fields = cycle.fields
        waits = not self._idle
        if waits and len(self._waiting) >= MAX_PIPELINED:
            self._failed("limit")
            self.transport.abort()
            raise ConnectionAbortedError
        size = sum(len(name) + len(value) for name, value in fields)
        if waits or size > FREE_HEAD_BYTES:
            # The slices were charged, except for the first and the last one of a head.
            cycle.charge.add(_REQUEST_BYTES + _HEADER_BYTES * len(fields) + min(size, 2 * FREE_HEAD_BYTES))
        expects_continue = cycle.headers.get(b"expect", b"").lower() == b"100-continue"
        run = AsgiRun(self._application, self._scope(cycle), cycle, self, expects_continue=expects_continue)
        cycle.answer_over_asgi(run)
        if waits:
            self._waiting.append(cycle)
            self.control_reading()
        else:
            self._start(cycle)

    def _scope(self, cycle: RequestCycle) -> Scope:
        """Return the scope of a request. Raises `Malformed`."""
        path, query = framing.split_target(cycle.target)
        return {
            "type": "http",
            "asgi": {"version": self._asgi_version, "spec_version": "2.3"},
            "http_version": cycle.version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": cycle.method,
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": cycle.fields,
            "state": {CERTIFIED: self._certified},
            CHARGE: cycle.charge,
        }

    def _leave_fast_path(self) -> None:
        """Let the application answer a request whose body arrives slowly, because it limits the time for it."""
        if self._reading is not None and self._reading.phase is BODY:
            self._answer_over_asgi(self._reading)

    def _start(self, cycle: RequestCycle) -> None:
        self._answering = cycle
        self._answers += 1
        self._answered_caller = cycle.charge.caller
        cycle.start()

    @property
    def _idle(self) -> bool:
        """Whether no request waits for its answer."""
        return self._answering is None and not self._waiting

    def is_receiving(self, cycle: RequestCycle) -> bool:
        """Return whether a request is not complete."""
        return cycle is self._reading

    def refuse_body(self, cycle: RequestCycle) -> None:
        """Let the application refuse a request that is not complete, for the reason in its charge."""
        try:
            self._leave_fast_path()
        except RequestError as error:
            self._refuse(error)
        else:
            cycle.body_refused()

    def run(self, coroutine: Coroutine[Any, Any, None], seconds: float) -> asyncio.Task[None]:
        """Run a coroutine as a task that takes about these seconds of the event loop."""
        self._turns.spend(seconds)
        task = self._loop.create_task(coroutine)
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        return task

    def common_lines(self) -> bytes:
        """Return the header lines of all responses."""
        fields = self._server_state.default_headers  # uvicorn creates a new list every second, with the current date
        if fields is not self._common_of:
            self._common_of, self._common = fields, headers.lines(fields)
        return self._common

    def is_last(self) -> bool:
        """Return whether the connection closes after the next response, because no request follows."""
        return self._draining() and not self._waiting and self._reading is None and not self._has_unread()

    @property
    def unread(self) -> bool:
        """Whether the client has read nothing for some time."""
        return self._unread.waits and self.write_paused

    async def drain(self) -> None:
        """Wait until the client has read most of what was written, or the connection is lost."""
        if self.write_paused:
            await self._writable.wait()

    def send_next(self) -> None:
        """Send the next piece of an answer when it is this connection's turn."""
        if self._can_answer:
            self._take_turn(PIECE_BYTES)

    def answered(self, *, close: bool) -> None:
        """Go on with the next request, or wait for it. `close` is whether the connection closes after the answer."""
        self._answering = None
        if self.transport.is_closing():
            return
        if close:
            if self._reading is None or self._waiting:
                self.transport.close()
            else:
                self._half_close()
        elif self._waiting:
            self._take_turn(PIECE_BYTES)
        else:
            self._await_request()
        if self._reading_paused:
            self.control_reading()

    def _await_request(self) -> None:
        """Wait for a request, or reject what has arrived instead."""
        if self._refusal is not None:
            self._write_refusal(self._refusal)
        elif self._reading is None:
            self._wait(self._keep_alive_timeout)
        elif self._reading.phase is HEAD:
            self._wait(self._header_timeout)
        else:
            self._discarded = 0
            self._wait(DISCARD_SECONDS)

    def _refuse(self, error: RequestError) -> None:
        """Stop reading, and send an error after the responses to all earlier requests."""
        if not isinstance(error, Unavailable):
            self._failed("limit" if isinstance(error, HeadTooLarge | Overloaded) else "malformed")
        refused, self._reading = self._reading, None
        if refused is not None:
            if refused.phase in (SENDING, DONE):
                self.transport.close()
                return
            if refused is self._answering:
                self._answering = None
            elif self._waiting and refused is self._waiting[-1]:
                self._waiting.pop()
            refused.abandon()
        self._refusal = error.with_traceback(None)  # its frames refer to this connection: a reference cycle
        self._state = REFUSING
        if self._idle:
            self._write_refusal(error)
        else:
            self.control_reading()

    def _write_refusal(self, error: RequestError) -> None:
        """Send the last response."""
        request_id = secrets.token_hex(8)
        logger.warning("%s", error.message, extra={"request_id": request_id, "status": error.http_status.value})
        self.transport.write(refusal(error, request_id, self._server_state.default_headers))
        self._half_close()

    def _half_close(self) -> None:
        """Close the connection after the last response, as soon as the client has done so."""
        self._state = HALF_CLOSED
        self._discarded = 0
        self._wait(DISCARD_SECONDS)
        self.transport.write_eof()
        self.control_reading()

    def shutdown(self) -> None:
        """Finish the requests that have arrived or are on their way, then close."""
        self._ending = True
        if self._state is HALF_CLOSED:
            self.transport.close()
        elif self._idle and self._until is not None:
            self._until = min(self._until, self._loop.time() + FAREWELL_SECONDS)

    @property
    def idle_until(self) -> float | None:
        """The event loop's time at which the connection closes unless a request begins, or its head ends.

        None while a request is read or answered, and until the last byte of the response is sent. The rest of a request
        that was answered early does not keep the connection open.
        """
        active = self._turn is not NONE or self.transport.is_closing() or self.transport.get_write_buffer_size()
        return None if active else self._until

    @property
    def running(self) -> bool:
        """Whether the client waits for an answer, or for the turn in which what it has sent is read."""
        return self._turn is not NONE or (self._answering is not None and self._answering is not self._reading)

    def enforce_timeouts(self, now: float) -> None:
        """Enforce time limits. Called about once a second with the event loop's time.

        A slow reader is disconnected even if the connection is closing, because unsent bytes keep it open.
        """
        if self._turn is NONE:  # otherwise the server is slow, not the client
            try:
                self._leave_fast_path()
            except RequestError as error:
                self._refuse(error)
        overdue = self._until is not None and now >= self._until and self._turn is NONE
        if overdue and (self._reading is not None or self._state is HALF_CLOSED or not self._has_unread()):
            self.transport.close()
        if self._unread.count(self.transport.get_write_buffer_size(), self._answers, self._answered_caller, now):
            logger.info("a caller did not read its answer in time", extra={"client": self._peer})
            self.transport.abort()

    def _wait(self, seconds: float) -> None:
        """Set the time at which the connection closes unless the request, or its head, is complete."""
        self._until = self._loop.time() + (min(seconds, FAREWELL_SECONDS) if self._ending else seconds)

    def _has_unread(self) -> bool:
        """Return whether there are bytes that are not parsed, here or in the socket."""
        return not self.transport.is_closing() and (bool(self._received) or has_unread(self.transport))


def _addresses(connected: socket.socket) -> tuple[tuple[str, int | None] | None, tuple[str, int] | None]:
    """Return the addresses of a server and its client, as in a scope of ASGI."""
    own = connected.getsockname()
    try:
        peer = connected.getpeername()
    except OSError:  # it has disconnected
        peer = None
    server = own[:2] if isinstance(own, tuple) else (own, None) if isinstance(own, str) else None
    return server, peer[:2] if isinstance(peer, tuple) else None
