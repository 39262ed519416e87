"""A gRPC client of one connection that costs little, because it writes prepared HTTP/2 frames.

Calls are sent at given times and wait for a stream and for flow-control windows, as in any client. What remains of the
body of a call that is answered early is not sent.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

from google.rpc.code_pb2 import Code
from hpack import Decoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame

_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame().serialize()

#: The windows of both sides (RFC 9113, section 6.9.2) until they are changed.
_WINDOW = 65_535

#: Bytes that the client lets the server send. Nothing is granted later: a measurement receives less.
_RECEIVED = 2**31 - 1 - _WINDOW

_FRAME_BYTES = 16_384
_HEAD_BYTES = 9
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM = _ACK = 1

_MAX_CONCURRENT_STREAMS = 3


class Request(NamedTuple):
    """A call to be sent many times."""

    name: str
    frames: tuple[bytes, ...]  # without the identifier of the stream

    @classmethod
    def of(cls, name: str, path: str, message: bytes) -> Request:
        """Build the frames of a call with one message."""
        fields = {":method": "POST", ":scheme": "http", ":authority": "benchmark", ":path": path}
        block = b"".join(map(_literal, *zip(*{**fields, "content-type": "application/grpc"}.items(), strict=True)))
        content = b"\0" + len(message).to_bytes(4) + message
        pieces = [content[at : at + _FRAME_BYTES] for at in range(0, len(content), _FRAME_BYTES)]
        data = [DataFrame(1, piece) for piece in pieces]
        data[-1].flags.add("END_STREAM")
        frames: list[Frame] = [HeadersFrame(1, block, flags=["END_HEADERS"]), *data]
        return cls(name, tuple(frame.serialize() for frame in frames))


@dataclass(slots=True)
class Sample:
    """One call. Times are those of `perf_counter`."""

    request: Request
    due: float
    sent: float = 0.0  # when it got a stream
    ended: float = 0.0  # when its status arrived, or 0
    answered: bool = False  # with a message
    status: bytes = b""  # the header block with the status

    def outcome(self) -> str:
        """Return the name of the gRPC status."""
        fields = dict(Decoder().decode(self.status, raw=True))
        return str(Code.Name(int(fields[b"grpc-status"])))


@dataclass
class Connection:
    """One connection to a server on this machine. Call `run` as long as calls are sent or answers are expected."""

    port: int
    ended: list[Sample] = field(default_factory=list)
    waiting: deque[Sample] = field(default_factory=deque)  # for a stream

    def __post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_HELLO + WindowUpdateFrame(0, _RECEIVED).serialize())
        self._socket.setblocking(False)
        self._received = bytearray()
        self._streams: dict[int, Sample] = {}
        self._most = 1  # streams, until the SETTINGS of the server have arrived
        self._window = self._initial = _WINDOW
        self._windows: dict[int, int] = {}
        self._next = 1
        self._frames: deque[tuple[int, bytes]] = deque()  # to be sent, each with its stream
        self._begun = memoryview(b"")  # the rest of a frame that was sent in part

    @property
    def open(self) -> int:
        """The number of calls without a status."""
        return len(self._streams) + len(self.waiting)

    def add(self, sample: Sample) -> None:
        """Send a call as soon as it gets a stream."""
        self.waiting.append(sample)

    def run(self, until: float) -> None:
        """Send and receive until a time, or until something has arrived."""
        self._open_streams()
        self._write()
        blocked = [self._socket] if self._begun else []
        readable, _, _ = select.select([self._socket], blocked, [], max(0.0, until - perf_counter()))
        if readable:
            self._received += self._socket.recv(1 << 18)
            for kind, flags, stream, content in self._frames_received():
                self._read(kind, flags, stream, content)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _open_streams(self) -> None:
        while self.waiting and len(self._streams) < self._most:
            sample, stream = self.waiting.popleft(), self._next
            self._next += 2
            self._streams[stream], self._windows[stream] = sample, self._initial
            sample.sent = perf_counter()
            identifier = stream.to_bytes(4)
            self._frames.extend((stream, frame[:5] + identifier + frame[9:]) for frame in sample.request.frames)

    def _write(self) -> None:
        """Write frames until a window or the socket is full."""
        while self._begun or self._take_frames():
            try:
                self._begun = self._begun[self._socket.send(self._begun) :]
            except BlockingIOError:
                return

    def _take_frames(self) -> bool:
        """Take the frames to write next. Returns whether there are any."""
        taken = []
        while self._frames:
            stream, frame = self._frames[0]
            if stream in self._streams or not stream:
                if frame[3] == _DATA:
                    size = len(frame) - _HEAD_BYTES
                    if size > min(self._window, self._windows[stream]):
                        break
                    self._window -= size
                    self._windows[stream] -= size
                taken.append(frame)
            self._frames.popleft()
        self._begun = memoryview(b"".join(taken))
        return bool(taken)

    def _frames_received(self) -> Iterator[tuple[int, int, int, bytes]]:
        received, start = self._received, 0
        while len(received) - start >= _HEAD_BYTES:
            end = start + _HEAD_BYTES + int.from_bytes(received[start : start + 3])
            if len(received) < end:
                break
            stream = int.from_bytes(received[start + 5 : start + 9])
            yield received[start + 3], received[start + 4], stream, bytes(received[start + _HEAD_BYTES : end])
            start = end
        del received[:start]

    def _read(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        if kind == _GOAWAY:
            raise ConnectionError(f"GOAWAY: {content[8:]!r}")
        if kind == _SETTINGS and not flags & _ACK:
            for at in range(0, len(content), 6):
                if int.from_bytes(content[at : at + 2]) == _MAX_CONCURRENT_STREAMS:
                    self._most = int.from_bytes(content[at + 2 : at + 6])
            self._frames.appendleft((0, SettingsFrame(flags=["ACK"]).serialize()))
        elif kind == _PING and not flags & _ACK:
            self._frames.appendleft((0, PingFrame(opaque_data=content, flags=["ACK"]).serialize()))
        elif kind == _WINDOW_UPDATE:
            self._grant(stream, int.from_bytes(content))
        elif (sample := self._streams.get(stream)) is not None:
            self._advance(sample, stream, kind, flags, content)

    def _grant(self, stream: int, size: int) -> None:
        if not stream:
            self._window += size
        elif stream in self._windows:
            self._windows[stream] += size

    def _advance(self, sample: Sample, stream: int, kind: int, flags: int, content: bytes) -> None:
        """Read a frame of the answer to a call."""
        if kind == _DATA:
            sample.answered = True
        elif kind == _HEADERS:
            sample.status = content
        if kind == _RESET or flags & _END_STREAM:
            sample.ended = perf_counter()
            self.ended.append(sample)
            del self._streams[stream], self._windows[stream]


def _literal(name: str, value: str) -> bytes:
    """Encode a short field in HPACK without compression (RFC 7541, section 6.2.2)."""
    return b"".join((b"\0", bytes((len(name),)), name.encode(), bytes((len(value),)), value.encode()))
