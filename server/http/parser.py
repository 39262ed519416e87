"""Parses the requests of a connection, within limits of their heads and trailers."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Protocol

import httptools

from sentiment_conv1d.server.errors import HeadTooLarge, Malformed, RequestError, UnsupportedVersion
from sentiment_conv1d.server.http import framing

#: The most bytes of a request line with headers, of trailers, or of anything else between two pieces of a body.
MAX_HEAD_BYTES = 65_536

#: The most headers of a request, and the most trailers. Each takes more memory than its bytes.
MAX_HEADERS = 128

#: Bytes of an incomplete head that are not charged: every idle connection can have them.
FREE_HEAD_BYTES = 4096

#: The last bytes of a target, behind which the request line names its protocol; more bytes than those with this name;
#: and more bytes than there are before a target.
_TARGET_END = 32
_LINE_END = 48
_METHOD = 24


#: Headers, with their names in lower case.
Fields = list[tuple[bytes, bytes]]


class Receiver(Protocol):
    """Receives the parts of each request in this order. The methods can raise `RequestError`."""

    def request_began(self) -> None:
        """Called with the first byte of a request."""

    def head_began(self) -> None:
        """Called if a head does not arrive as a whole."""

    def hold(self, count: int) -> None:
        """Called if the parser holds `count` more bytes of a head or of trailers."""

    def head_received(self, method: bytes, target: bytes, version: str, fields: Fields, keep_alive: bool) -> None:
        """Called with the last byte of a head.

        The method is in upper case, and the target is not decoded. `keep_alive` is whether the client can send another
        request.
        """

    def body_received(self, data: bytes) -> None:
        """Called with a piece of a body."""

    def request_received(self) -> None:
        """Called with the last byte of a request."""


class _Part(Enum):
    """The part of a request that the parser reads."""

    NONE = auto()
    HEAD = auto()
    BODY = auto()  # or trailers


NONE, HEAD, BODY = _Part


class RequestParser:
    """The parser of httptools with limits, and with the checks that it leaves out.

    It passes the parts of requests to a receiver. Offers to upgrade the protocol are declined.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._part = NONE
        self._target = b""
        self._fields: Fields = []
        self._held = 0  # bytes of the pieces since the last one with a callback, or 0 after a callback
        self._piece = b""  # what is parsed now
        self._searched = 0  # bytes of it up to the last name of a protocol
        self._named = False  # whether the protocol of this request was found in an earlier piece
        self._line_end = b""  # the end of the last piece, if the protocol was not found in it
        self._restart()

    def feed(self, data: bytes) -> bytes:
        """Parse the next piece. Returns the bytes that have to be parsed next, if an upgrade was declined.

        Raises `RequestError`. Then nothing more can be parsed. Other errors of the receiver count as `Malformed`.
        """
        self._piece, self._line_end, self._searched = self._line_end + data, b"", 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._decline_upgrade() + data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            raise self._cause(error) from None
        if self._part is not NONE:
            self._hold(len(data))
        self._piece = b""
        return b""

    def close(self) -> None:
        """Drop the parser of httptools, which is a reference cycle."""
        del self._parser

    def on_message_begin(self) -> None:
        """Called by httptools, like the next five methods."""
        self._part = HEAD
        self._target, self._fields = b"", []
        self._held = 0
        self._named = False
        self._receiver.request_began()

    def on_url(self, url: bytes) -> None:
        """Handle a target or a part of it."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Handle a header or a trailer."""
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Check a head and pass it on, unless it will be parsed again without its upgrade."""
        parser, target, fields = self._parser, self._target, self._fields
        found = self._piece.find(target + b" HTTP/", self._searched)
        if 0 <= found - self._searched < _METHOD:
            self._searched = found + 1
        else:
            self._check_protocol()
        if len(fields) > MAX_HEADERS:
            raise HeadTooLarge(f"there are more than {MAX_HEADERS} headers, which is the limit")
        if parser.should_upgrade():
            return
        self._part = BODY
        self._held = 0
        self._fields = []  # of the trailers
        version = parser.get_http_version()
        framing.check(target, version, fields)
        keep_alive = version != "1.0" and parser.should_keep_alive()
        self._receiver.head_received(parser.get_method(), target, version, fields, keep_alive)

    def on_body(self, body: bytes) -> None:
        """Handle a piece of a body."""
        self._held = 0
        self._receiver.body_received(body)

    def on_message_complete(self) -> None:
        """Handle the last byte of a request."""
        if self._part is BODY:
            self._part = NONE
            self._receiver.request_received()

    def _restart(self) -> None:
        """Create a parser that does not check the version, or the bytes after the last request: this class does."""
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_version=True, lenient_data_after_close=True)

    def _hold(self, count: int) -> None:
        """Limit the memory of an incomplete head or of incomplete trailers."""
        first, in_head = not self._held, self._part is HEAD
        self._held += count
        if in_head:
            if not self._check_protocol():
                self._line_end = self._piece[self._searched :][-_LINE_END:]
            if first:
                self._receiver.head_began()
        if (in_head or not first) and self._held > FREE_HEAD_BYTES:
            self._receiver.hold(count)
        if len(self._fields) > MAX_HEADERS:
            raise HeadTooLarge(f"there are more than {MAX_HEADERS} headers, which is the limit")
        if self._held > MAX_HEAD_BYTES:
            raise HeadTooLarge(f"the headers have more than {MAX_HEAD_BYTES} bytes, which is the limit")

    def _decline_upgrade(self) -> bytes:
        """Return the head without its upgrade, because the parser treats its body as the new protocol."""
        parser = self._parser
        method, keep_alive = parser.get_method(), parser.should_keep_alive()
        if method == b"CONNECT":
            raise Malformed("CONNECT is not supported, because this server is not a proxy")
        self._part = NONE
        self._restart()
        return framing.without_upgrade(
            method, self._target, parser.get_http_version(), self._fields, keep_alive=keep_alive
        )

    def _cause(self, error: httptools.HttpParserError) -> RequestError:
        """Return why httptools has stopped: what a callback raised, or that the bytes are not valid."""
        cause = error.__context__
        if isinstance(cause, RequestError):
            return cause
        if self._part is HEAD:
            try:
                self._check_protocol()
            except UnsupportedVersion as other:
                return other
        return Malformed("the request is not valid HTTP/1.1")

    def _check_protocol(self) -> bool:
        """Return whether the request line was found and names HTTP. Raises `UnsupportedVersion` for RTSP and others.

        The parser accepts RTSP too, and does not tell where the line begins: find its target after the last line.
        """
        if self._named or not self._target:
            return self._named
        line = re.compile(re.escape(self._target[-_TARGET_END:]) + rb" +([A-Z]+)/[0-9]")
        named = line.search(self._piece, self._searched)
        if named is None:
            return False
        if named[1] != b"HTTP":
            raise UnsupportedVersion(f"{named[1].decode()} is not HTTP")
        self._searched = named.end()
        self._named = True
        return True
