"""The server's side of one HTTP/2 connection (RFC 9113), implemented by the library zttp.

Only this module uses the library, which does the framing, header compression, stream states and flow control. Its
limits are fixed: a client can have 128 streams open, send 32 KiB per stream ahead of the server, and send header lists
of up to 64 KiB.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from struct import Struct
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import zttp

from sentiment_conv1d.server.errors import ClientDisconnected

logger = logging.getLogger(__name__)

Fields = Sequence[tuple[bytes, bytes]]

#: Requests, and resets by the client, after which the client is asked to reconnect. zttp ends a connection at its
#: 4,096th request and at its 256th reset. The difference leaves room for requests that are already on the way.
MAX_REQUESTS = 3500
MAX_RESETS = 64

#: The initial window of a stream: bytes that a client can send before the server grants more.
_WINDOW = 65_535

#: The most bytes of content per frame.
MAX_CONTENT = 16_384

#: The largest stream identifier. The first GOAWAY of a graceful shutdown contains it (RFC 9113, section 6.8).
LARGEST_STREAM = 2**31 - 1

#: Bytes passed to the library at once, and the most without an event, which is more than a complete header block has.
_PIECE_BYTES = 16_384
_MAX_SILENT_BYTES = 131_072

#: Events that are read regardless of the time, so that a small call is read in one go even if the operating system
#: suspends the process meanwhile.
_LEAST_EVENTS = 6

#: The header of a frame: length (high 8 and low 16 bits), type, flags and stream (RFC 9113, section 4.1). We write PING
#: frames because the library cannot send them, and we hold back WINDOW_UPDATE frames because the library grants windows
#: for all content, even if the application has not consumed it.
_FRAME = Struct(">BHBBL")
_HEADERS, _PING, _WINDOW_UPDATE = 1, 6, 8

#: The library encodes responses without a dynamic table. A client that asks for a smaller table than usual expects a
#: size update before the next header fields (RFC 7541, section 4.2), which the library does not send.
_TABLE_SIZE, _USUAL_TABLE = zttp.H2Settings.HEADER_TABLE_SIZE, 4096
_NO_TABLE = b"\x20"

#: Codes of resets: the response is incomplete; the request was not processed, so that the client can retry; and the
#: response is complete although the request is not (RFC 9113, section 8.1).
CANCELLED, REFUSED, ANSWERED = (
    zttp.H2ErrorCode.CANCEL,
    zttp.H2ErrorCode.REFUSED_STREAM,
    zttp.H2ErrorCode.NO_ERROR,
)


class Head(NamedTuple):
    """The HTTP status and the header fields of a response."""

    status: int
    fields: Fields


class ConnectionFailed(Exception):
    """The client violated the protocol. The GOAWAY is ready to be sent."""

    reason = "malformed"


class LimitExceeded(ConnectionFailed):
    """The client exceeded a limit."""

    reason = "limit"


class Handler(Protocol):
    """Receives the events of a connection."""

    def request_received(self, stream: int, method: bytes, path: bytes, fields: Fields, *, ended: bool) -> None:
        """The header of a request is complete; `ended` is true if no content follows."""

    def content_received(self, stream: int, data: bytes, *, ended: bool) -> None:
        """Content of a request; `ended` is true if no more follows."""

    def stream_reset(self, stream: int) -> None:
        """The client reset a stream, or violated the protocol on it."""

    def window_opened(self) -> None:
        """The client opened a window, so more can be sent."""

    def ping_received(self, payload: bytes, *, answer: bool) -> None:
        """A PING that has been answered, or the answer to one."""

    def settings_received(self) -> None:
        """SETTINGS, which have been applied and acknowledged."""

    def goaway_received(self) -> None:
        """The client will open no more streams."""


class Http2:
    """Parses the bytes that a client sends, and builds the bytes to send to it.

    `take` returns the bytes to send.
    """

    def __init__(self, handler: Handler) -> None:
        self._connection = zttp.Connection(zttp.SERVER, zttp.HTTP2)
        self._connection.initiate_connection()
        self._received = bytearray()
        self._drained = True  # whether the library has no further event
        self._silent = 0  # bytes since the last event
        self._following: zttp.Event | None = None  # an event that was read ahead
        self._frames = b""  # frames that the library does not write
        self._small_table = False  # whether a table size update is due
        self._withheld: dict[int, int] = {}  # by stream: bytes of windows that are held back

        def content(event: zttp.Data) -> None:
            stream = event.stream_id
            if self._withheld.get(stream, 0) > _WINDOW:  # the library has granted them and cannot detect this
                self.fail("content beyond the window of a stream")
            # The end usually follows at once, and one call is cheaper for the handler than two.
            following = self._connection.next_event()
            ended = isinstance(following, zttp.EndOfMessage) and following.stream_id == stream
            if not ended:
                self._following = following
            handler.content_received(stream, event.data, ended=ended)

        def settings(event: zttp.Settings) -> None:
            if any(name == _TABLE_SIZE and size < _USUAL_TABLE for name, size in event.params):
                self._small_table = True
            handler.settings_received()

        self._handle: dict[type, Callable[[Any], None]] = {
            zttp.Request: lambda event: handler.request_received(
                event.stream_id, event.method, event.target, event.headers, ended=event.end_stream
            ),
            zttp.Data: content,
            zttp.EndOfMessage: lambda event: handler.content_received(event.stream_id, b"", ended=True),
            zttp.RstStream: lambda event: handler.stream_reset(event.stream_id),
            zttp.WindowUpdate: lambda event: handler.window_opened(),
            zttp.Ping: lambda event: handler.ping_received(event.data, answer=event.ack),
            zttp.Settings: settings,
            zttp.GoAway: lambda event: handler.goaway_received(),
        }

    def receive(self, data: bytes) -> None:
        """Add bytes from the client, to be parsed by `read`."""
        self._received += data

    @property
    def unread(self) -> int:
        """The number of bytes kept: unparsed ones, and those of an incomplete frame or header block."""
        return len(self._received) + self._silent

    def read(self, until: float) -> bool:
        """Read a few events, and more until `until`, a time of `perf_counter`. Returns whether there may be more.

        Raises `ConnectionFailed`.
        """
        events = 0
        try:
            while not self._drained or self._received:
                if events >= _LEAST_EVENTS and perf_counter() >= until:
                    return True
                if self._drained:
                    self._feed()
                event, self._following = self._following, None
                if event is None:
                    event = self._connection.next_event()
                if (handle := self._handle.get(type(event))) is None:  # all is parsed, or the connection has ended
                    self._drained = True
                else:
                    self._silent = 0
                    handle(event)
                events += 1
        except zttp.RemoteProtocolError as error:
            raise ConnectionFailed(str(error)) from None
        return False

    def _feed(self) -> None:
        """Pass the next bytes to the library."""
        piece = bytes(self._received[:_PIECE_BYTES])
        del self._received[:_PIECE_BYTES]
        self._silent += len(piece)
        if self._silent > _MAX_SILENT_BYTES:
            self.fail("frames without effect")
        self._connection.receive_data(piece)
        self._drained = False

    def fail(self, reason: str) -> None:
        """End the connection of a client that exceeds a limit. Raises `LimitExceeded`."""
        self._connection.close(zttp.H2ErrorCode.ENHANCE_YOUR_CALM)
        raise LimitExceeded(reason)

    def send(self, stream: int, *, head: Head | None = None, data: bytes = b"", trailers: Fields | None = None) -> None:
        """Send the next parts of a response: its head, content, and the trailers that end it, which can be empty.

        `data` has up to `MAX_CONTENT` bytes, and no more than `window` returns. Raises `ClientDisconnected` if the
        stream is not open.
        """
        opened = self._connection.stream(stream)
        if opened.send_window is None:  # the library would send a head regardless
            raise ClientDisconnected
        try:
            if head is not None:
                head_only = trailers is not None and not (data or trailers)
                opened.send_response(head.status, list(head.fields), head_only)
                if head_only:
                    return
            if data:
                opened.send_data(data)
            if trailers is not None:
                opened.end_message(list(trailers))
        except zttp.LocalProtocolError as error:  # a defect of the service
            logger.error("a response could not be sent: %s", error)
            opened.reset(zttp.H2ErrorCode.INTERNAL_ERROR)
            raise ClientDisconnected from None

    def window(self, stream: int) -> int:
        """Return the number of bytes that can be sent on a stream now; 0 if it is not open."""
        return min(self._connection.stream(stream).send_window or 0, self._connection.send_window)

    def reset(self, stream: int, code: int) -> None:
        """Reset a stream with `CANCELLED`, `REFUSED` or `ANSWERED`."""
        self._connection.stream(stream).reset(code)

    def withhold(self, stream: int) -> None:
        """Hold back the window of a stream until `grant`."""
        self._withheld.setdefault(stream, 0)

    def grant(self, stream: int) -> None:
        """Grant the window of a stream that was held back."""
        if withheld := self._withheld.pop(stream, 0):
            self._frames += _FRAME.pack(0, 4, _WINDOW_UPDATE, 0, stream) + withheld.to_bytes(4)

    def forget(self, stream: int) -> None:
        """Forget the window of a stream that has ended."""
        self._withheld.pop(stream, None)

    def ping(self, payload: bytes) -> None:
        """Send a PING with a payload of 8 bytes."""
        self._frames += _FRAME.pack(0, len(payload), _PING, 0, 0) + payload

    def go_away(self, last: int | None = None) -> None:
        """Send a GOAWAY: streams after `last`, by default the latest one, are not answered."""
        self._connection.close(zttp.H2ErrorCode.NO_ERROR, last)

    def take(self) -> bytes:
        """Return the bytes to send."""
        data = self._connection.data_to_send()
        if self._withheld or self._small_table:
            data = self._amended(data)
        if self._frames:
            data, self._frames = data + self._frames, b""
        return data

    def _amended(self, data: bytes) -> bytes:
        """Remove WINDOW_UPDATE frames of streams that are held back, and add a table size update if one is due."""
        kept, start = [], 0
        while start < len(data):
            high, low, kind, flags, stream = _FRAME.unpack_from(data, start)
            content = start + _FRAME.size
            end = content + (high << 16 | low)
            if kind == _WINDOW_UPDATE and stream in self._withheld:
                self._withheld[stream] += int.from_bytes(data[content:end])
            elif kind == _HEADERS and self._small_table:
                kept += [_FRAME.pack(high, low + 1, kind, flags, stream), _NO_TABLE, data[content:end]]
                self._small_table = False
            else:
                kept.append(data[start:end])
            start = end
        return b"".join(kept)

    def release(self) -> None:
        """Drop the handler, which refers to this object."""
        self._handle.clear()
