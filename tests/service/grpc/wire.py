"""HTTP/2 frames from a caller's side, implemented from RFC 9113 independently of the server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import hpack

PREFACE = bytes.fromhex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a")

_KINDS = (
    *("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS"),
    *("PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"),
)
_CODES = (
    *("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED"),
    *("FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM"),
)

#: Flags.
END_STREAM = ACK = 1
END_HEADERS = 4
PADDED = 8
PRIORITY = 32

#: Settings.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)

#: The fields of a request.
POST = ((":method", "POST"), (":scheme", "http"), (":path", "/echo"), (":authority", "here"))


class Frame(NamedTuple):
    """A frame from the server."""

    kind: str
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> str:
        """The error code of a GOAWAY or a RST_STREAM."""
        start = 4 if self.kind == "GOAWAY" else 0
        return _CODES[int.from_bytes(self.payload[start : start + 4], "big")]

    @property
    def number(self) -> int:
        """The last stream of a GOAWAY, or the increment of a WINDOW_UPDATE."""
        return int.from_bytes(self.payload[:4], "big")

    @property
    def settings(self) -> dict[int, int]:
        """The values of SETTINGS."""
        pairs = [self.payload[at : at + 6] for at in range(0, len(self.payload), 6)]
        return {int.from_bytes(pair[:2], "big"): int.from_bytes(pair[2:], "big") for pair in pairs}


def frame(kind: str | int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Build a frame of any type, even an unknown one."""
    number = kind if isinstance(kind, int) else _KINDS.index(kind)
    return len(payload).to_bytes(3, "big") + bytes((number, flags)) + stream.to_bytes(4, "big") + payload


def read(data: bytes) -> tuple[list[Frame], bytes]:
    """Return the complete frames at the start of the bytes, and the remaining bytes."""
    found = []
    while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3], "big")):
        found.append(Frame(_KINDS[data[3]], data[4], int.from_bytes(data[5:9], "big"), data[9:end]))
        data = data[end:]
    return found, data


def settings(*pairs: tuple[int, int]) -> bytes:
    """Build a SETTINGS frame from names and values."""
    return frame(
        "SETTINGS", payload=b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in pairs)
    )


def block(*fields: tuple[str, str]) -> bytes:
    """Build a header block that does not depend on HPACK's table."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields])


def fields(content: bytes, decoder: hpack.Decoder | None = None) -> list[tuple[str, str]]:
    """Decode a header block. Some blocks need the decoder of the previous blocks."""
    return [(str(name), str(value)) for name, value in (decoder or hpack.Decoder()).decode(content)]


def request(stream: int, *more: tuple[str, str], ended: bool = True, head: Iterable[tuple[str, str]] = POST) -> bytes:
    """Build the HEADERS of a request."""
    return frame("HEADERS", END_HEADERS | ended, stream, block(*head, *more))


def data(stream: int, content: bytes = b"", *, ended: bool = False) -> bytes:
    """Build a DATA frame."""
    return frame("DATA", int(ended), stream, content)


def window(stream: int, increment: int) -> bytes:
    """Build a WINDOW_UPDATE frame."""
    return frame("WINDOW_UPDATE", 0, stream, increment.to_bytes(4, "big"))


def reset(stream: int) -> bytes:
    """Build a RST_STREAM frame with the code CANCEL."""
    return frame("RST_STREAM", 0, stream, _CODES.index("CANCEL").to_bytes(4, "big"))


def ping(content: bytes = b"12345678", flags: int = 0) -> bytes:
    """Build a PING frame."""
    return frame("PING", flags, 0, content)


def go_away(code: str = "NO_ERROR") -> bytes:
    """Build a GOAWAY frame."""
    return frame("GOAWAY", 0, 0, bytes(4) + _CODES.index(code).to_bytes(4, "big"))
