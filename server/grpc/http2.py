"""The server's side of one HTTP/2 connection (RFC 9113), implemented by the library ngh2, which binds libnghttp2.

Only this module uses the library, which does the framing, header compression, stream states and flow control.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import ngh2

from sentiment_conv1d.server.errors import ClientDisconnected

logger = logging.getLogger(__name__)

Fields = Sequence[tuple[bytes, bytes]]

#: The initial window of a stream, which holds most messages, and the window of a connection: bytes that a client can
#: send before the server grants more.
STREAM_WINDOW = 65_535
CONNECTION_WINDOW = 1024 * 1024

#: The most bytes of content per frame.
MAX_CONTENT = 16_384

#: Bytes passed to the library at once. It returns all events of a piece together. Those of a piece of 4096 bytes took
#: 115 kB as measured, or up to 3.4 MB and 1.5 ms if header blocks repeat a field of 4 kB from HPACK's table.
PIECE_BYTES = 4096

#: The most bytes without an event. A complete header block has fewer. The library ends a connection at its 10,000th
#: frame that it ignores, without saying why; in this many bytes there are fewer frames.
_MAX_SILENT_BYTES = 81_920

#: Events that are read regardless of the time, so that a small call is read in one go even if the operating system
#: suspends the process meanwhile.
_LEAST_EVENTS = 6

#: Bytes of the header list of a request, counted as in RFC 9113, section 6.5.2, and its fields. The library decodes an
#: incomplete header block as it arrives, so these bound the memory that a few bytes can take.
_HEADER_LIST_BYTES = 32_768
_HEADER_FIELDS = 128

#: Bytes without an event that are not charged, so that every connection can have an incomplete frame, and bytes of
#: memory per further byte. As measured, an incomplete header block takes up to 43 kB until it has this many bytes, and
#: 77 kB in all.
_FREE_BYTES = 16_384 + 9
_BLOCK_COPIES = 3

#: Bytes of events that are not charged, and bytes of memory, as measured, of an event without its content, and of a
#: header field without its name and value.
_FREE_EVENT_BYTES = 65_536
_EVENT_BYTES = 350
_FIELD_BYTES = 130

#: The type of a RST_STREAM frame (RFC 9113, section 6.4).
_RST_STREAM = 3

_NOTHING = memoryview(b"")
_UNLIMITED = 2**63

#: The service counts resets and other frames without effect itself, so that it can choose how the connection ends. The
#: encoder has no dynamic table: answers have few equal fields, and every connection would keep one.
_CONFIGURATION = ngh2.Configuration(
    max_deflate_dynamic_table_size=0,
    max_inbound_header_list_size=_HEADER_LIST_BYTES,
    max_inbound_header_count=_HEADER_FIELDS,
    stream_reset_rate_limit=(_UNLIMITED, _UNLIMITED),
)

#: Codes of resets: the response is incomplete; the request was not processed, so that the client can retry; and the
#: response is complete although the request is not (RFC 9113, section 8.1).
CANCELLED, REFUSED, ANSWERED = (
    ngh2.ErrorCode.CANCEL,
    ngh2.ErrorCode.REFUSED_STREAM,
    ngh2.ErrorCode.NO_ERROR,
)


class Head(NamedTuple):
    """The HTTP status and the header fields of a response."""

    status: int
    fields: Fields


class _StreamRefused(NamedTuple):
    """The library has reset a stream itself. It replaces the library's events of the end of the stream, if any."""

    stream_id: int


class ConnectionFailed(Exception):
    """The client violated the protocol. The GOAWAY, if there is one, is ready to be sent."""

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
        """The client reset a stream. Called again when the stream is closed."""

    def stream_refused(self, stream: int) -> None:
        """The client violated the protocol on a stream, or opened too many. It can be one without a request."""

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

    A client can have `streams` streams open. It learns this limit with the first SETTINGS. If it has acknowledged them
    and opens more, the library ends the connection; until then it refuses them one by one, and `Handler` is told.

    `take` returns the bytes to send. Nothing waits in the library: every call that sends something serializes it.
    """

    def __init__(self, handler: Handler, streams: int) -> None:
        self._connection = ngh2.Connection(ngh2.Role.SERVER, _CONFIGURATION)
        self._connection.initiate_connection(
            {
                ngh2.Setting.MAX_CONCURRENT_STREAMS: streams,
                ngh2.Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                ngh2.Setting.MAX_HEADER_LIST_SIZE: _HEADER_LIST_BYTES,
            }
        )
        self._connection.set_local_window_size(CONNECTION_WINDOW)
        self._received = _NOTHING
        self._events: deque[ngh2.Event | _StreamRefused] = deque()
        self._silent = 0  # bytes since the last event
        self._output = bytearray()
        self._over = False  # whether the library takes and sends nothing more
        self._left_with: int | None = None  # the code of the client's GOAWAY

        def request(event: ngh2.RequestReceived) -> None:
            pseudo: dict[bytes, bytes] = {}
            fields = event.headers
            for name, value in fields:
                if not name.startswith(b":"):  # pseudo-header fields come first (RFC 9113, section 8.3)
                    break
                pseudo[name] = value
            handler.request_received(
                event.stream_id,
                pseudo[b":method"],
                pseudo.get(b":path", b""),
                fields[len(pseudo) :],
                ended=event.end_stream,
            )

        def goaway(event: ngh2.GoAwayReceived) -> None:
            self._left_with = event.error_code
            handler.goaway_received()

        self._handle: dict[type, Callable[[Any], None]] = {
            ngh2.RequestReceived: request,
            ngh2.DataReceived: lambda event: handler.content_received(
                event.stream_id, event.data, ended=event.end_stream
            ),
            ngh2.TrailersReceived: lambda event: handler.content_received(event.stream_id, b"", ended=True),
            ngh2.StreamReset: lambda event: handler.stream_reset(event.stream_id),
            ngh2.StreamClosed: lambda event: handler.stream_reset(event.stream_id) if event.error_code else None,
            _StreamRefused: lambda event: handler.stream_refused(event.stream_id),
            ngh2.WindowUpdated: lambda event: handler.window_opened(),
            ngh2.PingReceived: lambda event: handler.ping_received(event.opaque_data, answer=False),
            ngh2.PingAcknowledged: lambda event: handler.ping_received(event.opaque_data, answer=True),
            ngh2.SettingsReceived: lambda event: handler.settings_received(),
            ngh2.GoAwayReceived: goaway,
        }

    def receive(self, data: bytes) -> None:
        """Add bytes from the client, to be parsed by `read`."""
        self._received = memoryview(bytes(self._received) + data if self._received else data)

    @property
    def held(self) -> int:
        """Bytes of memory of an incomplete header block, or of events, beyond those that every connection can have."""
        if self._events:
            return max(0, sum(map(_memory, self._events)) - _FREE_EVENT_BYTES)
        return max(0, _BLOCK_COPIES * (self._silent - _FREE_BYTES))

    def read(self, until: float) -> bool:
        """Read a few events, and more until `until`, a time of `perf_counter`. Returns whether there may be more.

        Raises `ConnectionFailed`.
        """
        events = 0
        try:
            while self._events or self._received:
                if events >= _LEAST_EVENTS and perf_counter() >= until:
                    return True
                if self._events:
                    self._pass_on(self._events.popleft())
                else:
                    self._feed()
                events += 1
        except ngh2.DenialOfServiceError as error:
            self._over = True
            raise LimitExceeded(str(error)) from None
        except ngh2.ProtocolError as error:
            self._over = True
            raise ConnectionFailed(str(error)) from None
        return False

    def _feed(self) -> None:
        """Pass the next bytes to the library."""
        piece = self._received[:PIECE_BYTES]
        self._received = self._received[PIECE_BYTES:] or _NOTHING  # which does not keep the bytes that it is a part of
        if self._over:
            return
        self._silent += len(piece)
        if self._silent > _MAX_SILENT_BYTES:
            self.fail("frames without effect")
        connection = self._connection
        room = connection.local_window_size
        connection.receive_data(piece)
        output = connection.data_to_send()
        self._output += output
        events = connection.events()
        if events and isinstance(events[-1], ngh2.ConnectionClosed):
            self._over = True  # also for the events before it
        # Resets by the service never wait until here, so these are the library's. Not all of them have an event.
        if told := _with_refusals(events, _resets(output)):
            self._silent = 0
            self._events.extend(told)
        elif connection.local_window_size != room:
            self._silent = 0  # content of a stream that has ended, which the client could not hold back

    def _pass_on(self, event: ngh2.Event | _StreamRefused) -> None:
        """Pass an event to the handler."""
        if isinstance(event, ngh2.ConnectionClosed):
            if event.error_code not in (0, self._left_with):
                failure = LimitExceeded if event.error_code == ngh2.ErrorCode.ENHANCE_YOUR_CALM else ConnectionFailed
                raise failure(f"error {event.error_code}")
        elif (handle := self._handle.get(type(event))) is not None:
            handle(event)

    def fail(self, reason: str) -> None:
        """End the connection of a client that exceeds a limit. Raises `LimitExceeded`."""
        if not self._over:
            self._connection.send_goaway(ngh2.ErrorCode.ENHANCE_YOUR_CALM, debug_data=reason.encode())
            self._serialize()
            self._over = True
        raise LimitExceeded(reason)

    def send(
        self,
        stream: int,
        *,
        head: Head | None = None,
        data: bytes = b"",
        trailers: Fields | None = None,
        reset: bool = False,
    ) -> None:
        """Send the next parts of a response: its head, content, and the trailers that end it, which can be empty.

        `data` has up to `MAX_CONTENT` bytes, and no more than `window` returns. Without content, the library sends
        trailers as soon as the windows have room for at least a byte. If the request is not complete, `reset` tells the
        client after the response not to send the rest. Raises `ClientDisconnected` if the stream is not open.
        """
        if self._over:
            raise ClientDisconnected
        connection, last = self._connection, trailers is not None and not trailers
        try:
            if head is not None:
                ends = last and not data
                connection.send_response(stream, [(b":status", b"%d" % head.status), *head.fields], end_stream=ends)
                last = last and not ends
            if data or last:
                connection.send_data(stream, data, end_stream=last)
            if trailers:
                connection.send_trailers(stream, trailers)
            if reset:
                self._output += connection.data_to_send()  # a reset drops a response that is not serialized
                connection.reset_stream(stream, ANSWERED)
        except ngh2.StreamProtocolError:
            raise ClientDisconnected from None
        self._serialize()

    def window(self, stream: int) -> int:
        """Return the number of bytes that can be sent on a stream now; 0 if it is not open."""
        if self._over:
            return 0
        try:
            room = self._connection.stream_remote_window_size(stream)
        except ngh2.StreamUnavailableError:
            return 0
        return max(0, min(room, self._connection.remote_window_size))

    def reset(self, stream: int, code: int) -> None:
        """Reset a stream with `CANCELLED` or `REFUSED`."""
        if not self._over:
            self._connection.reset_stream(stream, code)
            self._serialize()

    def withhold(self, stream: int) -> None:
        """Hold back the window of a stream until `grant`."""
        self._set_window(stream, 0)

    def grant(self, stream: int) -> None:
        """Grant the window of a stream that was held back."""
        self._set_window(stream, STREAM_WINDOW)

    def _set_window(self, stream: int, size: int) -> None:
        if not self._over:
            with contextlib.suppress(ngh2.StreamUnavailableError):
                self._connection.set_local_window_size(size, stream_id=stream)
            self._serialize()

    def ping(self, payload: bytes) -> None:
        """Send a PING with a payload of 8 bytes."""
        if not self._over:
            self._connection.ping(payload)
            self._serialize()

    def announce_shutdown(self) -> None:
        """Send the first GOAWAY of a graceful shutdown (RFC 9113, section 6.8). New streams are still answered."""
        if not self._over:
            self._connection.send_shutdown_notice()
            self._serialize()

    def go_away(self) -> None:
        """Send a GOAWAY: streams after the latest one are not answered."""
        if not self._over:
            self._connection.send_goaway()
            self._serialize()

    def data_to_send(self) -> bytes:
        """Return the bytes to send, once."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def _serialize(self) -> None:
        """Append what the library has to send for a call of the service."""
        self._output += self._connection.data_to_send()
        for event in self._connection.events():
            if isinstance(event, ngh2.ConnectionClosed):
                self._over = True
            elif isinstance(event, ngh2.StreamClosed) and event.local_error is not None:  # a defect of the service
                logger.error("a response could not be sent: %s", event.local_error)

    def release(self) -> None:
        """Drop the handler, which refers to this object."""
        self._handle.clear()


def _resets(frames: bytes) -> set[int]:
    """Return the streams that complete frames reset."""
    streams, at = set(), 0
    while at < len(frames):
        if frames[at + 3] == _RST_STREAM:
            streams.add(int.from_bytes(frames[at + 5 : at + 9]))
        at += 9 + int.from_bytes(frames[at : at + 3])
    return streams


def _with_refusals(events: Sequence[ngh2.Event], resets: set[int]) -> Sequence[ngh2.Event | _StreamRefused]:
    """Return the events, where one replaces those of the end of a stream that the library has reset.

    Without a response that it could not send, which is a defect of the service.
    """
    if not resets:
        return events
    defects = {each.stream_id for each in events if isinstance(each, ngh2.StreamClosed) and each.local_error}
    refused = resets - defects
    others = [
        each
        for each in events
        if not (isinstance(each, (ngh2.StreamReset, ngh2.StreamClosed)) and each.stream_id in refused)
    ]
    return [*others, *map(_StreamRefused, sorted(refused))]


def _memory(event: ngh2.Event | _StreamRefused) -> int:
    """Return about the bytes of memory that an event takes."""
    if isinstance(event, ngh2.DataReceived):
        return _EVENT_BYTES + len(event.data)
    if isinstance(event, (ngh2.RequestReceived, ngh2.TrailersReceived)):
        return _EVENT_BYTES + sum(_FIELD_BYTES + len(name) + len(value) for name, value in event.headers)
    return _EVENT_BYTES
