"""A connection that reads and writes HTTP/2 frames, for calls that no client library sends."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self

import hpack

from tests.processes import PATIENCE
from tests.service.grpc import wire


class Answer(NamedTuple):
    """The fields, the messages and the reset code of a stream that has ended."""

    fields: dict[str, str]
    messages: list[bytes]
    reset: str | None

    @property
    def status(self) -> int | None:
        """Return the gRPC status code."""
        return int(self.fields["grpc-status"]) if "grpc-status" in self.fields else None


def message(content: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """Return a message with its prefix."""
    return struct.pack(">BL", flag, len(content) if length is None else length) + content


class Caller:
    """A connection that makes calls, over TLS if it has a context."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket)
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._frames: list[wire.Frame] = []
        self._rest = b""
        self._next = 1
        self.send(wire.PREFACE + wire.settings())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def begin(self, path: str, fields: Mapping[str, str] | None = None, *, ended: bool = False) -> int:
        """Send the head of a call without its empty fields, and return its stream."""
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
        self.send(wire.frame("HEADERS", wire.END_HEADERS | ended, stream, block))
        return stream

    def data(self, stream: int, data: bytes, *, ended: bool = True) -> None:
        """Send data of a call in one frame."""
        self.send(wire.data(stream, data, ended=ended))

    def call(self, path: str, content: bytes, fields: Mapping[str, str] | None = None) -> Answer:
        """Make a call with one message."""
        stream = self.begin(path, fields)
        self.data(stream, message(content))
        return self.answer(stream)

    def next_frame(self) -> wire.Frame | None:
        """Return the next frame, or None if the connection has ended."""
        while not self._frames:
            received = self._socket.recv(65536)
            if not received:
                return None
            self._frames, self._rest = wire.read(self._rest + received)
        return self._frames.pop(0)

    def answer(self, stream: int) -> Answer:
        """Read until a stream has ended. Drops the frames of other streams."""
        fields: dict[str, str] = {}
        content, reset = b"", None
        while (each := self.next_frame()) is not None:
            if each.kind == "HEADERS":
                decoded = dict(wire.fields(each.payload, self._decoder))
                if each.stream == stream:
                    fields |= decoded
            elif each.kind == "DATA" and each.stream == stream:
                content += each.payload
            elif each.kind == "RST_STREAM" and each.stream == stream:
                reset = each.code
                break
            if each.stream == stream and each.kind in ("DATA", "HEADERS") and each.flags & wire.END_STREAM:
                break
        return Answer(fields, _messages(content), reset)


def _messages(content: bytes) -> list[bytes]:
    messages = []
    while content:
        size = int.from_bytes(content[1:5])
        messages.append(content[5 : 5 + size])
        content = content[5 + size :]
    return messages
