"""HTTP/1.1 read within limits: slices of bytes into the parser, heads and trailers of a bounded size."""

from __future__ import annotations

import asyncio
import select
from abc import ABC, abstractmethod
from time import perf_counter

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sentiment_conv1d.service.errors import HeadTooLarge, Malformed, RequestError
from sentiment_conv1d.service.network.buffers import Buffers, Charge
from sentiment_conv1d.service.network.turns import Turns
from sentiment_conv1d.service.rest.server import framing
from sentiment_conv1d.service.rest.server.asgi import DISCARD_BYTES

#: Bytes of a request line and headers, of trailers, or of anything else between two pieces of a body.
MAX_HEAD_BYTES = 65_536

#: Headers of one request, each of which takes more memory than it has bytes.
MAX_HEADERS = 128

#: Bytes of a head that are not charged: idle connections may have as many.
FREE_HEAD_BYTES = 4096

#: Bytes that are parsed between two checks of the limits.
_SLICE_BYTES = 4096


class ParsingProtocol(HttpToolsProtocol, ABC):
    """The half of a connection that reads requests, in turn with other connections.

    `_refuse` is called with what is wrong with the bytes, after which nothing more is parsed.
    """

    def __init__(
        self, config: Config, server_state: ServerState, loop: asyncio.AbstractEventLoop, buffers: Buffers, turns: Turns
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self._buffers = buffers
        self._turns = turns
        self._make_parser()
        self._charge = Charge(buffers)  # of the request that is being read
        self._reading = self._in_head = self._begun = False  # that request: here in part, its head, with a cycle
        self._received = bytearray()  # not parsed yet
        self._waiting = False  # for a turn to parse it
        self._steps = 0  # of all requests that were read
        self._undone = 0  # bytes since the last step
        self._discarded = 0  # bytes of a body whose response is complete
        self._violation: RequestError | None = None  # for which the parser is told to stop
        self._refusal: RequestError | None = None  # after which nothing more is read

    @abstractmethod
    def _refuse(self, error: RequestError) -> None:
        """Refuse what arrived, which is not a request."""

    @abstractmethod
    def _began_head(self) -> None:
        """The first bytes of a head have arrived."""

    # Called by the event loop.

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, now or in turn."""
        self._received += data
        if self._waiting or not self._turns.read(self, len(data)):
            self._waiting = True
            self.transport.pause_reading()

    # Called by the turns.

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

    # Called by the parser.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._charge = Charge(self._buffers)
        self._reading = self._in_head = True
        self._begun = False
        self._steps += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or a trailer: uvicorn's method with a limit."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        if len(self.headers) > MAX_HEADERS:
            self._stop_parser(HeadTooLarge(f"there are more than {MAX_HEADERS} headers, which is the limit"))

    def _make_parser(self) -> None:
        """Make a parser that leaves it to us to check the version and what comes after the last request."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_version=True, lenient_data_after_close=True)

    def _parse(self, data: bytes) -> None:
        if self._refusal is not None or self.transport.is_closing():
            self._discard(len(data))
            return
        steps = self._steps
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse_unparsed()
        else:
            if self._reading:
                self._check_undone(len(data), stepped=steps != self._steps)

    def _check_undone(self, count: int, *, stepped: bool) -> None:
        """Limit and charge what the parser keeps of a request: an incomplete head or incomplete trailers."""
        self._undone = count if stepped else self._undone + count
        if stepped and self._in_head:
            self._began_head()
        try:
            if (self._in_head or not stepped) and self._undone > FREE_HEAD_BYTES:
                self._charge.add(count)
            if self._undone > MAX_HEAD_BYTES:
                raise HeadTooLarge(f"the headers have more than {MAX_HEAD_BYTES} bytes, which is the limit")
        except RequestError as error:
            self._refuse(error)

    def _stop_parser(self, error: RequestError) -> None:
        """Stop the parser with an exception, after which the request is refused with `error`."""
        self._violation = error
        raise httptools.HttpParserError

    def _decline_upgrade(self, rest: bytes) -> None:
        """Parse the request again without its offer to upgrade: the parser takes its body for the new protocol."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(Malformed("CONNECT is for proxies"))
            return
        head = framing.without_upgrade(method, self.url, self.parser.get_http_version(), self.headers)
        self._make_parser()
        self._received[:0] = head + rest

    def _discard(self, count: int) -> None:
        """Count bytes that nobody reads, up to a limit."""
        self._discarded += count
        if self._discarded > DISCARD_BYTES:
            self.transport.abort()

    def _refuse_unparsed(self) -> None:
        """Refuse what the parser stopped at, unless the connection is closed already."""
        if not self.transport.is_closing():
            self._refuse(self._violation or Malformed("what arrived is not HTTP/1.1"))

    def _has_unread(self) -> bool:
        """Whether bytes have arrived that are not parsed, here or in the socket."""
        if self.transport.is_closing():
            return False
        if self._received:
            return True
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))
