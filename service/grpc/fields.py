"""The fields of a protobuf message, counted in its bytes (protobuf's document "Encoding").

Protobuf's own parser allocates some hundred bytes for an empty message in a message, which takes two bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from service.dataplane import INLINE_CHARACTERS, DataPlane
from service.errors import TooLarge
from service.limits import Limits

Request = TypeVar("Request", bound=Message)

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}

#: Bytes of a varint but its last.
_CONTINUED = bytes(range(128, 256))


def limited(kind: type[Request], dataplane: DataPlane) -> Callable[[bytes], Request]:
    """What parses such messages. It raises `TooLarge` for those with too many fields or values."""
    parse = kind.FromString

    def parse_limited(content: bytes) -> Request:
        if len(content) > INLINE_CHARACTERS:
            check(content, kind, dataplane.limits)
        return parse(content)

    return parse_limited


def check(content: bytes, kind: type[Message], limits: Limits) -> None:
    """Raise `TooLarge` if a message has too many fields or values. Other mistakes are left to the parser."""
    fields = values = 0
    messages: list[tuple[int, int, Any]] = [(0, len(content), kind.DESCRIPTOR)]
    while messages:
        position, end, descriptor = messages.pop()
        while position < end and fields <= limits.fields:
            fields += 1
            tag, position = _varint(content, position, end)
            wire_type = tag & 7
            if wire_type == _VARINT:
                _, position = _varint(content, position, end)
            elif wire_type == _BYTES:
                size, start = _varint(content, position, end)
                position = min(start + size, end)
                field = descriptor.fields_by_number.get(tag >> 3)
                if field is None or field.type in (field.TYPE_STRING, field.TYPE_BYTES):
                    continue
                if field.message_type is not None:
                    messages.append((start, position, field.message_type))
                else:  # packed numbers
                    values += len(content[start:position].translate(None, _CONTINUED))
            else:
                position += _SIZES.get(wire_type, 0)
    if not limits.hold(fields, values):
        raise TooLarge(f"the message has more than {limits.fields} fields, or {limits.values} numbers")


def _varint(content: bytes, position: int, end: int) -> tuple[int, int]:
    """A number and where it ends; beyond the end of what there is, the end."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
    return value, position
