"""HTTP/2 (RFC 9113), the server's side of one connection, as the library h2 implements it.

Only this module knows the library: frames, header compression, stream states and flow control are its work. What it
leaves to its user is here: h2 reads a frame of any announced length before it checks the limit, keeps 64 frames of one
header block, and ends a connection at the first GOAWAY in either direction, before open streams are finished. So frames
are cut out of the bytes here, one at a time, which also lets the caller stop between two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    UnknownFrameReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import Decoder, Encoder
from hyperframe.frame import GoAwayFrame

Fields = Sequence[tuple[bytes, bytes]]

#: What a client sends first (RFC 9113, section 3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: The largest stream identifier, which names no stream in particular in the first GOAWAY of a graceful shutdown.
LARGEST_STREAM = 2**31 - 1

_LARGEST_WINDOW = 2**31 - 1

#: Bytes that a client may send on a stream before the application has consumed some.
STREAM_WINDOW = 262_144

#: Of a frame: its length (3 bytes), type, flags and stream identifier (4 bytes).
_FRAME_HEADER = 9
_MAX_FRAME_SIZE = 16_384
_HEADERS, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 1, 7, 8, 9
_END_HEADERS = 4
_MIN_GOAWAY = 8
_WINDOW_UPDATE_BYTES = 4

#: Compressed bytes of one header block. The decoder limits what they expand to, to 64 KiB.
_MAX_BLOCK_BYTES = 32_768

#: Closed streams of which h2 remembers how they ended, to judge frames that were on the way.
_REMEMBERED_STREAMS = 256

#: Bytes of closed streams after which the connection's window is opened again.
_CREDIT = 65_536

#: The most that the fields of a request may come to when they are decompressed, as RFC 9113 counts them.
_MAX_LIST_BYTES = 65_536

#: A header block of only these bytes refers to fields in the tables, a byte each (RFC 7541, section 6.1). So many such
#: blocks are kept for a connection.
_REFERENCES = bytes(range(0x81, 0xFF))
_MAX_KNOWN_BLOCKS = 64

#: Response fields with few values.
_REPEATED = frozenset({b":status", b"content-type", b"grpc-status", b"grpc-encoding"})

CANCEL, NO_ERROR = ErrorCodes.CANCEL, ErrorCodes.NO_ERROR


class ConnectionFailed(Exception):
    """The client broke a rule of the protocol or a limit. The GOAWAY that says so is ready to be sent."""


class Handler(Protocol):
    """What happens on the connection."""

    def request_received(self, stream: int, fields: list[tuple[bytes, bytes]], *, ended: bool) -> None:
        """The header fields of a request are complete; `ended` says that no content follows."""

    def content_received(self, stream: int, data: bytes, size: int, *, ended: bool) -> None:
        """Content of a request, which took `size` bytes of the windows; or its end."""

    def stream_reset(self, stream: int) -> None:
        """The client gave up a stream, or broke a rule on it."""

    def window_opened(self, stream: int) -> None:
        """More may be sent on a stream, or on all of them if it is 0."""

    def ping_received(self) -> None:
        """A PING, which has been answered."""

    def ping_answered(self, payload: bytes) -> None:
        """The answer to a PING."""

    def settings_received(self) -> None:
        """SETTINGS, which have been applied and acknowledged."""

    def goaway_received(self) -> None:
        """The client opens no more streams."""

    def noise_received(self) -> None:
        """A frame that has no effect."""


class Http2:
    """Reads what the client sends, and writes what it is sent.

    Bytes to send are collected until `take`. Methods that send raise nothing as long as the stream is open; the caller
    keeps to `window` and `max_content`.
    """

    def __init__(self, handler: Handler, *, streams: int, head_bytes: int) -> None:
        self._handler = handler
        self._buffer = bytearray()
        self._block_bytes = 0  # of the header block that is incomplete
        self._greeted = False
        self._credit = 0
        config = H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            normalize_inbound_headers=False,
        )
        self._h2 = _Connection(config)
        self._decoder = _Decoder(config)
        self._h2.encoder, self._h2.decoder = _Encoder(), self._decoder
        self._settings = {
            SettingCodes.MAX_CONCURRENT_STREAMS: streams,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: head_bytes,
        }
        # No stream can use up the connection's window and so hold up the others.
        self._connection_window = min(streams * STREAM_WINDOW, _LARGEST_WINDOW)
        self._dispatch: dict[type[Event], Callable[[Any], None]] = {
            RequestReceived: self._request,
            DataReceived: self._data,
            TrailersReceived: self._trailers,
            StreamEnded: lambda event: None,  # the event before it says so
            StreamReset: lambda event: handler.stream_reset(event.stream_id),
            WindowUpdated: lambda event: handler.window_opened(event.stream_id),
            PingReceived: lambda event: handler.ping_received(),
            PingAckReceived: lambda event: handler.ping_answered(event.ping_data),
            RemoteSettingsChanged: lambda event: handler.settings_received(),
            PriorityUpdated: lambda event: handler.noise_received(),
            UnknownFrameReceived: lambda event: handler.noise_received(),
        }

    # What arrives.

    def receive(self, data: bytes) -> None:
        """Take bytes from the client, to be read by `read_frame`."""
        self._buffer += data

    @property
    def unread(self) -> int:
        """Bytes that wait for the rest of their frame or of their header block."""
        return len(self._buffer) + self._block_bytes

    def read_frame(self) -> bool:
        """Read the next frame, if it is complete; returns whether it was. Raises `ConnectionFailed`."""
        buffer = self._buffer
        if not self._greeted and not self._greet():
            return False
        if len(buffer) < _FRAME_HEADER:
            return False
        size, kind, flags = int.from_bytes(buffer[:3]), buffer[3], buffer[4]
        if size > _MAX_FRAME_SIZE:
            self._fail(ErrorCodes.FRAME_SIZE_ERROR, f"a frame of {size} bytes; the limit is {_MAX_FRAME_SIZE}")
        end = _FRAME_HEADER + size
        if len(buffer) < end:
            return False
        frame = buffer[:end]
        del buffer[:end]
        if kind in (_HEADERS, _CONTINUATION):
            self._block_bytes += size
            if self._block_bytes > _MAX_BLOCK_BYTES:
                self._fail(ErrorCodes.ENHANCE_YOUR_CALM, f"a header block has more than {_MAX_BLOCK_BYTES} bytes")
            if flags & _END_HEADERS:
                self._block_bytes = 0
        elif self._block_bytes:
            pass  # h2 ends the connection
        elif kind == _WINDOW_UPDATE and size == _WINDOW_UPDATE_BYTES and self._open_window(frame):
            return True
        elif kind == _GOAWAY and size >= _MIN_GOAWAY and not int.from_bytes(frame[5:9]) & LARGEST_STREAM:
            self._handler.goaway_received()
            return True
        self._give(frame)
        return True

    def fail(self, reason: str) -> NoReturn:
        """End the connection of a client that goes too far. Raises `ConnectionFailed`."""
        self._fail(ErrorCodes.ENHANCE_YOUR_CALM, reason)

    # What is sent.

    def send_fields(self, stream: int, fields: Fields, *, ended: bool = False) -> None:
        """The first or, with `ended`, the last header fields of a response."""
        self._h2.send_headers(stream, fields, end_stream=ended)

    def send_content(self, stream: int, data: bytes) -> None:
        """Content of a response, at most `max_content` bytes and within the `window`."""
        self._h2.send_data(stream, data)

    def end(self, stream: int) -> None:
        """End a response without further fields."""
        self._h2.end_stream(stream)

    def reset(self, stream: int, code: ErrorCodes) -> None:
        """End a stream."""
        self._h2.reset_stream(stream, code)

    def refuse(self, stream: int) -> None:
        """End a stream of which nothing was done, so that the client may try again."""
        self._h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)

    def window(self, stream: int) -> int:
        """Bytes that may be sent on a stream now."""
        return self._h2.local_flow_control_window(stream)

    @property
    def max_content(self) -> int:
        """Bytes of one frame of content."""
        return min(self._h2.max_outbound_frame_size, 4 * _MAX_FRAME_SIZE)

    def consumed(self, stream: int, size: int) -> None:
        """Let the client send as many bytes again on a stream that is open on its side."""
        self._h2.acknowledge_received_data(size, stream)

    def dropped(self, size: int) -> None:
        """Let the client send as many bytes again on the connection, since the stream they came on has ended."""
        self._credit += size
        if self._credit >= _CREDIT:
            self._h2.increment_flow_control_window(self._credit)
            self._credit = 0

    def ping(self, payload: bytes) -> None:
        """A PING of 8 bytes."""
        self._h2.ping(payload)

    def go_away(self, last: int) -> bytes:
        """A GOAWAY frame: streams after the last one are not answered. h2's own would end the connection."""
        return GoAwayFrame(0, last_stream_id=last, error_code=NO_ERROR).serialize()

    @property
    def last_stream(self) -> int:
        """The latest stream that the client has opened."""
        return self._h2.highest_inbound_stream_id

    def take(self) -> bytes:
        """The bytes to send."""
        return self._h2.data_to_send()

    # The rest.

    def _greet(self) -> bool:
        """Whether the preface is complete. Only then the server sends its own, which no other protocol could read."""
        if not PREFACE.startswith(self._buffer[: len(PREFACE)]):
            self._fail(ErrorCodes.PROTOCOL_ERROR, "this is not HTTP/2")
        if len(self._buffer) < len(PREFACE):
            return False
        self._greeted = True
        del self._buffer[: len(PREFACE)]
        # h2 fails a connection with too many streams, while the user may refuse them one by one.
        self._h2.local_settings = Settings(client=False, initial_values=self._settings)
        self._h2.initiate_connection()
        self._h2.local_settings = Settings(
            client=False, initial_values=self._settings | {SettingCodes.MAX_CONCURRENT_STREAMS: LARGEST_STREAM}
        )
        self._h2.increment_flow_control_window(self._connection_window - self._h2.inbound_flow_control_window)
        self._give(PREFACE)
        return True

    def _give(self, data: bytes | bytearray) -> None:
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as error:
            raise ConnectionFailed(str(error)) from None
        for event in events:
            if (handle := self._dispatch.get(event.__class__)) is not None:
                handle(event)

    def _open_window(self, frame: bytearray) -> bool:
        """Apply a WINDOW_UPDATE, unless it needs h2's judgement.

        grpcio sends two with every call, and h2 takes longer for them than for all of an answer's content.
        """
        stream, increment = int.from_bytes(frame[5:9]) & LARGEST_STREAM, int.from_bytes(frame[9:])
        target = self._h2.streams.get(stream) if stream else self._h2
        if target is None or not 0 < increment <= _LARGEST_WINDOW - target.outbound_flow_control_window:
            return False
        target.outbound_flow_control_window += increment
        self._handler.window_opened(stream)
        return True

    def _request(self, event: RequestReceived) -> None:
        self._decoder.keep()
        ended = event.stream_ended is not None
        self._handler.request_received(event.stream_id, event.headers, ended=ended)

    def _data(self, event: DataReceived) -> None:
        ended, size = event.stream_ended is not None, event.flow_controlled_length or 0
        self._handler.content_received(event.stream_id, event.data or b"", size, ended=ended)

    def _trailers(self, event: TrailersReceived) -> None:
        if any(name.startswith(b":") for name, _ in event.headers):  # repeats a block that was valid in front
            self._fail(ErrorCodes.PROTOCOL_ERROR, "a trailer section with pseudo-header fields")
        self._handler.content_received(event.stream_id, b"", 0, ended=True)

    def _fail(self, code: ErrorCodes, reason: str) -> NoReturn:
        self._h2.close_connection(code, reason.encode())
        raise ConnectionFailed(reason)


class _Connection(H2Connection):
    MAX_CLOSED_STREAMS = _REMEMBERED_STREAMS


class _Encoder(Encoder):
    """Writes fields that go into no table, and strings as they are.

    So the same field is always the same bytes, which are kept for those of every response, and no client can make the
    table grow. Huffman coding in Python costs more than the bytes it saves.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[bytes, bytes], bytes] = {}

    def encode(self, headers: Any, huffman: bool = False) -> bytes:
        blocks = [self._known.get(field) or self._encode(field) for field in headers]
        if self.header_table.resized:
            blocks.insert(0, super().encode([]))
        return b"".join(blocks)

    def _encode(self, field: tuple[bytes, bytes]) -> bytes:
        block = self.add(field, sensitive=True)
        if field[0] in _REPEATED:
            self._known[field] = block
        return block


class _Decoder(Decoder):
    """Decodes a block of fields, and has it validated, only once if the client repeats it, as most do in every call.

    A block of nothing but references to the tables means the same as long as no other block changes them.
    """

    def __init__(self, config: H2Configuration) -> None:
        super().__init__(_MAX_LIST_BYTES)
        self._config = config
        self._known: dict[bytes, Any] = {}
        self._latest: tuple[bytes, Any] | None = None

    def decode(self, data: bytes, raw: bool = False) -> Any:
        known, self._latest = self._known.get(data), None
        self._config.validate_inbound_headers = known is None
        if known is not None:
            return known
        fields = super().decode(data, raw)
        if data.translate(None, _REFERENCES):
            self._known.clear()
        else:
            self._latest = data, fields
        return fields

    def keep(self) -> None:
        """The latest block is that of a request, and valid; those of trailers and of closed streams need not be."""
        if self._latest is not None:
            if len(self._known) == _MAX_KNOWN_BLOCKS:
                self._known.clear()
            self._known[self._latest[0]] = self._latest[1]
