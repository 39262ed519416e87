"""Frames of HTTP/2 as bytes, and what is wrong with those that break the rules.

Source: RFC 9113, sections 4, 6 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from struct import Struct

#: What a client says first.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: Length (high 8 and low 16 bits), type, flags, stream.
HEAD = Struct(">BHBBL")
HEAD_BYTES = 9

#: The most payload that either side may send unless the other one allows more, which this server does not.
MAX_PAYLOAD = 16_384

#: The bounds of what may be set.
LARGEST_PAYLOAD = 2**24 - 1
LARGEST_WINDOW = 2**31 - 1
LARGEST_STREAM = 2**31 - 1

#: Of a stream or a connection, where nothing else was set.
INITIAL_WINDOW = 65_535

#: The first bit of a stream's number means nothing.
STREAM = 0x7FFF_FFFF

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20


class Kind(IntEnum):
    """The type of a frame."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    """What either side tells the other at the start, or later."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Fault(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionFault(Exception):
    """What arrived breaks the rules in a way that leaves nothing to be done with the connection."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault
        self.reason = reason


class StreamFault(Exception):
    """What arrived breaks the rules, and ends one stream."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.name)
        self.fault = fault


def frame(kind: Kind, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame."""
    size = len(payload)
    return HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def settings(values: Mapping[Setting, int]) -> bytes:
    """A frame of settings."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(_SETTING.pack(key, value) for key, value in values.items()))


def read_settings(payload: bytes) -> dict[int, int]:
    """What is set by a frame's payload, the last of each; what is unknown means nothing. Raises `ConnectionFault`."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(Fault.FRAME_SIZE_ERROR, "a setting has six bytes")
    values: dict[int, int] = {}
    for key, value in _SETTING.iter_unpack(payload):
        if key == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        if key == Setting.INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise ConnectionFault(Fault.FLOW_CONTROL_ERROR, "the initial window is too large")
        if key == Setting.MAX_FRAME_SIZE and not MAX_PAYLOAD <= value <= LARGEST_PAYLOAD:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of its bounds")
        values[key] = value
    return values


def window_update(stream: int, increment: int) -> bytes:
    """Allow so many bytes more on a stream, or on the connection where it is 0."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, increment.to_bytes(4))


def reset(stream: int, fault: Fault) -> bytes:
    """End a stream."""
    return frame(Kind.RST_STREAM, 0, stream, fault.to_bytes(4))


def go_away(last: int, fault: Fault, reason: str = "") -> bytes:
    """Say that no stream after `last` will be answered."""
    return frame(Kind.GOAWAY, 0, 0, last.to_bytes(4) + fault.to_bytes(4) + reason.encode())


def without_padding(flags: int, payload: bytes) -> bytes:
    """What is between the length of the padding and the padding. Raises `ConnectionFault`."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Fault.PROTOCOL_ERROR, "there is more padding than there is in the frame")
    return payload[1 : len(payload) - payload[0]]


_SETTING = Struct(">HL")
