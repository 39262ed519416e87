"""Parses requests and sends answers in the turns of a connection, within limits of heads and trailers."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from time import perf_counter
from typing import Any

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sentiment_conv1d.server.errors import HeadTooLarge, Malformed, RequestError
from sentiment_conv1d.server.http import framing
from sentiment_conv1d.server.http.asgi import PIECE_BYTES
from sentiment_conv1d.server.http.fast_path import FastRequest
from sentiment_conv1d.server.network.buffers import Buffers, Charge
from sentiment_conv1d.server.network.receiver import has_unread
from sentiment_conv1d.server.network.turns import Turns

logger = logging.getLogger(__name__)

#: The most bytes of a request line with headers, of trailers, or of anything else between two pieces of a body.
MAX_HEAD_BYTES = 65_536

#: The most headers of a request. Each takes more memory than its bytes.
MAX_HEADERS = 128

#: Bytes of an incomplete head that are not charged: every idle connection can have them.
FREE_HEAD_BYTES = 4096

#: Bytes that are discarded after the last response, or of a body whose response is complete.
DISCARD_BYTES = 64 * 1024 * 1024

#: Bytes that are parsed between two checks of the limits: of heads, which are much work, and of a body.
_SLICE_BYTES = 4096
_BODY_SLICE_BYTES = 16_384

#: Seconds of the event loop that a request through ASGI takes, and the next piece of a large answer.
ASGI_SECONDS = 0.0005
_PIECE_SECONDS = 0.00003


class PacedConnection(HttpToolsProtocol, ABC):
    """A connection that takes turns with other connections: to parse, to start a pipelined request, and to send a piece
    of a large answer.

    It calls `_refuse` with the error if the bytes are invalid, and parses nothing more.
    """

    def __init__(
        self, config: Config, server_state: ServerState, loop: asyncio.AbstractEventLoop, buffers: Buffers, turns: Turns
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self._buffers = buffers
        self._turns = turns
        self.parser = None  # type: ignore[assignment]  # until the connection is made: it is a reference cycle
        self._caller = ""  # whose memory the requests take, unless they have keys
        self._charge = Charge(buffers)  # of the request that is being read, like the next three
        self._reading = self._in_head = False
        self._started = False  # whether ASGI or a handler has it, and releases the charge
        self._received = b""  # bytes that are not parsed yet
        self._waiting = False  # whether it waits for its turn to parse them, or to continue an answer
        self._in_turn = False  # whether it has its turn
        self.admitted = False  # whether the client has shown that it has access
        self._buffered_by_parser = 0  # bytes of the pieces since the last one with a callback, or 0 after a callback
        self._discarded = 0  # bytes
        self._discarding = False  # whether what arrives is not parsed any more
        self._incoming: FastRequest | None = None  # the request that is being read, if it is on the fast path
        self._answering: FastRequest | None = None  # a request on the fast path, until its answer is written
        self._answers = 0  # that have begun on the fast path
        self._next_waits = False  # whether the first request of the pipeline waits for a turn

    @abstractmethod
    def _refuse(self, error: RequestError) -> None:
        """Reject bytes that are not a valid request."""

    @abstractmethod
    def _evict(self, charge: Charge) -> bool:
        """End the request with this charge if it waits for its client. Returns whether it did."""

    @abstractmethod
    def _began_head(self) -> None:
        """Called when the first bytes of a head have arrived."""

    @abstractmethod
    def _await_request(self) -> None:
        """Called when all requests that have arrived are answered."""

    # Called by the event loop.

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, now or when it is this connection's turn."""
        if self._discarding and not self._waiting:
            self._discard(len(data))
            return
        self._received += data
        self._take_turn(len(data))

    def resume_writing(self) -> None:
        """Continue an answer when the client has read most of what was written."""
        super().resume_writing()
        if self._pending:
            self._take_turn(PIECE_BYTES)

    # Called by `Turns`.

    def read(self, until: float) -> bool:
        """Answer and parse until `until`, a time of `perf_counter`. Returns whether there is more to do."""
        self._in_turn = True
        while not self.transport.is_closing():
            if self._pending:
                self._go_on()
            size = self._slice_size()
            data, self._received = self._received[:size], self._received[size:]
            if data:
                self._parse(data)
            if not self._received and not self._pending:
                break
            if perf_counter() >= until:
                self._in_turn = False
                return True
        self._in_turn = False
        self._received = b""
        if self._waiting:
            self._waiting = False
            if not self.flow.read_paused and not self.transport.is_closing():
                self.transport.resume_reading()
        return False

    def _slice_size(self) -> int:
        if self._incoming is None:
            return _SLICE_BYTES
        return max(_SLICE_BYTES, min(self._incoming.remaining, _BODY_SLICE_BYTES))

    def _take_turn(self, size: int) -> None:
        """Work now or when it is this connection's turn; `size` is the number of bytes to parse or to send."""
        if self._in_turn:
            return
        if self._waiting or self._turns.read_or_wait(self, size):
            self._waiting = True
            self.transport.pause_reading()

    # Called by the parser.

    def on_message_begin(self) -> None:
        """Handle the first byte of a request."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._charge = Charge(self._buffers, self._caller, self._evict)
        self._reading = self._in_head = True
        self._started = False
        self._buffered_by_parser = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Handle a header or a trailer: uvicorn's method with a limit."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        if len(self.headers) > MAX_HEADERS:
            raise HeadTooLarge(f"there are more than {MAX_HEADERS} headers, which is the limit")

    def _make_parser(self) -> None:
        """Create a parser that does not check the version, or the bytes after the last request: this class does."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_version=True, lenient_data_after_close=True)

    def _parse(self, data: bytes) -> None:
        if self._discarding or self.transport.is_closing():
            self._discard(len(data))
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse_unparsed(error.__context__)  # what a callback raised
        else:
            if self._reading:
                self._check_buffered(len(data))

    def _check_buffered(self, count: int) -> None:
        """Limit and charge the memory that the parser holds: an incomplete head or incomplete trailers."""
        stepped = not self._buffered_by_parser
        self._buffered_by_parser += count
        if stepped and self._in_head:
            self._began_head()
        try:
            if (self._in_head or not stepped) and self._buffered_by_parser > FREE_HEAD_BYTES:
                self._charge.add(count)
            if self._buffered_by_parser > MAX_HEAD_BYTES:
                raise HeadTooLarge(f"the headers have more than {MAX_HEAD_BYTES} bytes, which is the limit")
        except RequestError as error:
            self._refuse(error)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Parse the request again without its upgrade, because the parser treats its body as the new protocol."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(Malformed("CONNECT is not supported, because this server is not a proxy"))
            return
        self._charge.release()  # its head is charged again
        version, keep_alive = self.parser.get_http_version(), self.parser.should_keep_alive()
        head = framing.without_upgrade(method, self.url, version, self.headers, keep_alive=keep_alive)
        self._make_parser()
        self._received = head + rest + self._received

    def _discard(self, count: int) -> None:
        """Count discarded bytes, up to a limit."""
        self._discarded += count
        if self._discarded > DISCARD_BYTES:
            self.transport.abort()

    def _refuse_unparsed(self, error: BaseException | None) -> None:
        """Reject the request at which the parser stopped, unless the connection is closed."""
        if not self.transport.is_closing():
            self._refuse(error if isinstance(error, RequestError) else Malformed("the request is not valid HTTP/1.1"))

    def _has_unread(self) -> bool:
        """Return whether there are bytes that are not parsed, here or in the socket."""
        return not self.transport.is_closing() and (bool(self._received) or has_unread(self.transport))

    # Answers.

    @property
    def _idle(self) -> bool:
        """Return whether no request is being answered."""
        return self._answering is None and (self.cycle is None or self.cycle.response_complete)

    def _answer(self, request: FastRequest) -> None:
        """Answer a complete request of the fast path."""
        self._answering = request
        self._answers += 1
        if (sending := request.handler(request)) is not None:
            self._turns.spend()
            task = self.loop.create_task(self._serve(request, sending))
            request.disconnected = task.cancel
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def _start_next(self) -> None:
        """Start the first request of the pipeline when it is the connection's turn."""
        self._next_waits = True
        self._take_turn(PIECE_BYTES)

    def _stop_sending(self) -> None:
        """Drop a request, or the rest of its answer, because the connection is lost."""
        if (request := self._answering) is not None:
            self._answering = None
            if request.disconnected is not None:
                request.disconnected()
            request.charge.release()

    @property
    def _pending(self) -> bool:
        sending = self._answering is not None and bool(self._answering.unsent) and not self.flow.write_paused
        return self._next_waits or sending

    def _go_on(self) -> None:
        if (request := self._answering) is not None:
            self._turns.spend(_PIECE_SECONDS)
            request.send_piece()
            self.replied(request)
            return
        self._next_waits = False
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._await_request()

    def replied(self, request: FastRequest) -> None:
        """End a request if its answer is written, or else continue the answer."""
        if request.unsent:
            if self._pending:
                self._take_turn(PIECE_BYTES)
        elif self._answering is request:
            request.charge.release()
            self._answering = None
            self.on_response_complete()

    async def _serve(self, request: FastRequest, sending: Coroutine[Any, Any, None]) -> None:
        try:
            await sending
        except Exception:
            logger.exception("%s failed", request.target.decode())
            self.transport.abort()
