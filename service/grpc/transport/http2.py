"""HTTP/2 (RFC 9113), the server's side of one connection, as the library zttp implements it.

Only this module knows the library: frames, header compression, stream states and flow control are its work. It has no
settings: a client may have 128 streams open at once, sends up to 32 KiB a stream before the server has read some, and
header lists of up to 64 KiB.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from struct import Struct
from time import perf_counter
from typing import Any, NoReturn, Protocol

import zttp

from sentiment_conv1d.service.errors import ClientDisconnected

logger = logging.getLogger(__name__)

Fields = Sequence[tuple[bytes, bytes]]

#: Streams that a client may have open at once.
MAX_STREAMS = 128

#: Requests, and those that their client resets, after which a connection has to be replaced. zttp ends it at its
#: 4,096th request and at its 256th reset, and so many less leave room for what is on the way.
MAX_REQUESTS = 3500
MAX_RESETS = 64

#: Bytes that a client may send on a stream before more are granted.
_WINDOW = 65_535

#: Bytes of content that are sent at once.
MAX_CONTENT = 16_384

#: The largest stream identifier, which names no stream in particular in the first GOAWAY of a graceful shutdown.
LARGEST_STREAM = 2**31 - 1

#: Bytes that are given to the library at once, and the most without an event, which a header block comes to at most.
_PIECE_BYTES = 16_384
_MAX_SILENT_BYTES = 131_072

#: Events that are read whatever time it is, so that a small call is read at once even if the process has to wait for a
#: processor meanwhile.
_LEAST_EVENTS = 6

#: The header of a frame: length (high 8 and low 16 bits), type, flags and stream (RFC 9113, section 4.1). The library
#: sends no PING of ours, and a WINDOW_UPDATE for all content, whether or not the application has made use of it.
_FRAME = Struct(">BHBBL")
_HEADERS, _PING, _WINDOW_UPDATE = 1, 6, 8

#: The library uses no table for the fields of responses, and does not tell a client whose table is smaller than usual,
#: which has to be told in front of the next fields (RFC 7541, section 4.2).
_TABLE_SIZE, _USUAL_TABLE = zttp.H2Settings.HEADER_TABLE_SIZE, 4096
_NO_TABLE = b"\x20"

_CANCEL, _REFUSED, _CALM = (
    zttp.H2ErrorCode.CANCEL,
    zttp.H2ErrorCode.REFUSED_STREAM,
    zttp.H2ErrorCode.ENHANCE_YOUR_CALM,
)


class ConnectionFailed(Exception):
    """The client broke a rule of the protocol or a limit. The GOAWAY that says so is ready to be sent."""


class Handler(Protocol):
    """What happens on the connection."""

    def request_received(self, stream: int, method: bytes, path: bytes, fields: Fields, *, ended: bool) -> None:
        """The header fields of a request are complete; `ended` says that no content follows."""

    def content_received(self, stream: int, data: bytes, *, ended: bool) -> None:
        """Content of a request, or its end."""

    def stream_reset(self, stream: int) -> None:
        """The client gave up a stream, or broke a rule on it."""

    def window_opened(self) -> None:
        """More may be sent on some stream."""

    def ping_received(self, payload: bytes, *, answer: bool) -> None:
        """A PING, which has been answered, or the answer to one."""

    def settings_received(self) -> None:
        """SETTINGS, which have been applied and acknowledged."""

    def goaway_received(self) -> None:
        """The client opens no more streams."""


class Http2:
    """Reads what the client sends, and writes what it is sent.

    Bytes to send are collected until `take`. Methods that send raise `ClientDisconnected` if the stream is not open.
    """

    def __init__(self, handler: Handler) -> None:
        self._connection = zttp.Connection(zttp.SERVER, zttp.HTTP2)
        self._connection.initiate_connection()
        self._received = bytearray()
        self._drained = True  # what the library was given holds no further event
        self._silent = 0  # bytes since the last event
        self._following: zttp.Event | None = None  # an event that has been looked at already
        self._frames = b""  # of our own
        self._small_table = False  # and the client has to be told that it is not used
        self._withheld: dict[int, int] = {}  # bytes by stream that the client may not send yet

        def content(event: zttp.Data) -> None:
            stream = event.stream_id
            if self._withheld.get(stream, 0) > _WINDOW:  # the library has granted them, and does not object
                self.fail("content beyond the window of a stream")
            # The end mostly follows at once, and one call costs the handler less than two.
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
        """Take bytes from the client, to be read by `read`."""
        self._received += data

    @property
    def unread(self) -> int:
        """Bytes that are kept: those not read yet, and those of an incomplete frame or header block."""
        return len(self._received) + self._silent

    def read(self, until: float) -> bool:
        """Read some events, and more until that time of `perf_counter`; returns whether there may be more.

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
                self._handle_event(self._connection.next_event() if event is None else event)
                events += 1
        except zttp.RemoteProtocolError as error:
            raise ConnectionFailed(str(error)) from None
        return False

    def _feed(self) -> None:
        """Give the library the next bytes."""
        piece = bytes(self._received[:_PIECE_BYTES])
        del self._received[:_PIECE_BYTES]
        self._silent += len(piece)
        if self._silent > _MAX_SILENT_BYTES:
            self.fail("frames without effect")
        self._connection.receive_data(piece)
        self._drained = False

    def _handle_event(self, event: zttp.Event) -> None:
        handle = self._handle.get(type(event))
        if handle is None:  # the bytes are read, or the connection has ended
            self._drained = True
            return
        self._silent = 0
        handle(event)

    def fail(self, reason: str) -> None:
        """End the connection of a client that goes too far. Raises `ConnectionFailed`."""
        self._connection.close(_CALM)
        raise ConnectionFailed(reason)

    def send_head(self, stream: int, status: int, fields: Fields, *, ended: bool = False) -> None:
        """The header fields of a response, which may be all of it."""
        opened = self._connection.stream(stream)
        if opened.send_window is None:  # the library would send it all the same
            raise ClientDisconnected
        try:
            opened.send_response(status, list(fields), ended)
        except zttp.LocalProtocolError as error:
            _give_up(opened, error)

    def send_content(self, stream: int, data: bytes) -> None:
        """Content of a response: at most `MAX_CONTENT` bytes, and no more than the `window` has."""
        opened = self._connection.stream(stream)
        try:
            opened.send_data(data)
        except zttp.LocalProtocolError as error:
            _give_up(opened, error)

    def send_end(self, stream: int, trailers: Fields = ()) -> None:
        """The end of a response that has content, with trailers or without."""
        opened = self._connection.stream(stream)
        try:
            opened.end_message(list(trailers))
        except zttp.LocalProtocolError as error:
            _give_up(opened, error)

    def window(self, stream: int) -> int:
        """Bytes that may be sent on a stream now, 0 if it is not open."""
        return min(self._connection.stream(stream).send_window or 0, self._connection.send_window)

    def cancel(self, stream: int) -> None:
        """End a stream without the rest of its response."""
        self._connection.stream(stream).reset(_CANCEL)

    def refuse(self, stream: int) -> None:
        """End a stream of which nothing was done, so that the client may try again."""
        self._connection.stream(stream).reset(_REFUSED)

    def stop_request(self, stream: int) -> None:
        """Ask for no more of a request that has been answered (RFC 9113, section 8.1)."""
        self._connection.stream(stream).reset(zttp.H2ErrorCode.NO_ERROR)

    def withhold(self, stream: int) -> None:
        """Let the client send no more on a stream than it may already, until `grant`."""
        self._withheld.setdefault(stream, 0)

    def grant(self, stream: int) -> None:
        """Let the client send again on a stream."""
        if withheld := self._withheld.pop(stream, 0):
            self._frames += _FRAME.pack(0, 4, _WINDOW_UPDATE, 0, stream) + withheld.to_bytes(4)

    def forget(self, stream: int) -> None:
        """A stream has ended, for which nothing needs to be granted any more."""
        self._withheld.pop(stream, None)

    def ping(self, payload: bytes) -> None:
        """A PING of 8 bytes."""
        self._frames += _FRAME.pack(0, len(payload), _PING, 0, 0) + payload

    def go_away(self, last: int) -> None:
        """Tell the client that streams after the last one are not answered."""
        self._connection.close(zttp.H2ErrorCode.NO_ERROR, last)

    def take(self) -> bytes:
        """The bytes to send."""
        data = self._connection.data_to_send()
        if self._withheld or self._small_table:
            data = self._amended(data)
        if self._frames:
            data, self._frames = data + self._frames, b""
        return data

    def _amended(self, data: bytes) -> bytes:
        """Frames without WINDOW_UPDATEs of withheld streams, and with what a client with a small table has to know."""
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
        """Let go of the handler, which refers to this object."""
        self._handle.clear()


def _give_up(stream: zttp.Stream, error: zttp.LocalProtocolError) -> NoReturn:
    """Raise `ClientDisconnected` where the library refuses to send."""
    if stream.send_window is not None:  # it is open, so this is a defect of ours
        logger.error("a response could not be sent: %s", error)
        stream.reset(zttp.H2ErrorCode.INTERNAL_ERROR)
    raise ClientDisconnected
