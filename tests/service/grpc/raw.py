"""gRPC by hand, for what no client sends: a connection that writes frames and reads them, with nothing in between."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self

import hpack

from tests.processes import PATIENCE

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK, END_STREAM, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Frame(NamedTuple):
    """One frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Answer(NamedTuple):
    """All that came on a stream until it ended: every field, the messages, and the code of a reset."""

    fields: dict[str, str]
    messages: list[bytes]
    reset: int | None

    @property
    def status(self) -> int | None:
        """The number of gRPC's status."""
        return int(self.fields["grpc-status"]) if "grpc-status" in self.fields else None


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame."""
    return struct.pack(">L", len(payload))[1:] + struct.pack(">BBL", kind, flags, stream) + payload


def message(content: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """A message with what stands in front of it."""
    return struct.pack(">BL", flag, len(content) if length is None else length) + content


class Caller:
    """A connection on which calls are made."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._buffer = b""
        self._next = 1
        self.send(PREFACE + frame(SETTINGS, 0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def begin(self, path: str, fields: Mapping[str, str] | None = None, *, ended: bool = False) -> int:
        """Send the head of a call; returns its stream. A field that is empty is left out."""
        head = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "test",
            "content-type": "application/grpc",
            "te": "trailers",
            **(fields or {}),
        }
        block = self._encoder.encode([(name, value) for name, value in head.items() if value])
        stream, self._next = self._next, self._next + 2
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if ended else 0), stream, block))
        return stream

    def data(self, stream: int, data: bytes, *, ended: bool = True) -> None:
        """Send data of a call, in one frame."""
        self.send(frame(DATA, END_STREAM if ended else 0, stream, data))

    def call(self, path: str, content: bytes, fields: Mapping[str, str] | None = None) -> Answer:
        """Make a call with one message."""
        stream = self.begin(path, fields)
        self.data(stream, message(content))
        return self.answer(stream)

    def next_frame(self) -> Frame | None:
        """The next frame; None where the connection has ended."""
        while len(self._buffer) < 9 or len(self._buffer) < 9 + int.from_bytes(self._buffer[:3]):
            received = self._socket.recv(65536)
            if not received:
                return None
            self._buffer += received
        size = int.from_bytes(self._buffer[:3])
        kind, flags, stream = struct.unpack(">BBL", self._buffer[3:9])
        payload, self._buffer = self._buffer[9 : 9 + size], self._buffer[9 + size :]
        return Frame(kind, flags, stream, payload)

    def answer(self, stream: int) -> Answer:
        """Read until a stream has ended; what is of others is dropped, and so must not be of interest."""
        fields: dict[str, str] = {}
        content, reset = b"", None
        while (each := self.next_frame()) is not None:
            if each.kind == HEADERS:
                decoded = dict(self._decoder.decode(each.payload))
                if each.stream == stream:
                    fields |= {str(name): str(value) for name, value in decoded.items()}
            elif each.kind == DATA and each.stream == stream:
                content += each.payload
            elif each.kind == RST_STREAM and each.stream == stream:
                reset = int.from_bytes(each.payload)
                break
            if each.stream == stream and each.kind in (DATA, HEADERS) and each.flags & END_STREAM:
                break
        return Answer(fields, _messages(content), reset)

    def goodbye(self) -> int | None:
        """Read until the connection ends; returns the code that was given as the reason."""
        code = None
        while (each := self.next_frame()) is not None:
            if each.kind == GOAWAY:
                code = int.from_bytes(each.payload[4:8])
        return code


def _messages(content: bytes) -> list[bytes]:
    messages = []
    while content:
        size = int.from_bytes(content[1:5])
        messages.append(content[5 : 5 + size])
        content = content[5 + size :]
    return messages
