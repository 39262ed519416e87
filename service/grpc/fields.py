"""Counts the fields of a protobuf message before it is parsed. Source: "Encoding" in the protobuf documentation."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from sentiment_conv1d.server.errors import TooLarge
from sentiment_conv1d.service.scheduling.dataplane import ParseLimits

#: Every byte of a varint except its last has the high bit set.
_CONTINUED = bytes(range(128, 256))


def check(content: bytes, kind: type[Message], limits: ParseLimits) -> None:
    """Raise `TooLarge` if a message has too many fields or numbers. The parser reports other errors."""
    fields = numbers = 0
    messages: list[tuple[int, int, Any]] = [(0, len(content), kind.DESCRIPTOR)]
    while messages:
        position, end, descriptor = messages.pop()
        while position < end and fields <= limits.fields:
            fields += 1
            tag, position = _varint(content, position, end)
            match tag & 7:
                case 0:
                    _, position = _varint(content, position, end)
                case 1:
                    position += 8
                case 5:
                    position += 4
                case 2:
                    size, start = _varint(content, position, end)
                    position = min(start + size, end)
                    field = descriptor.fields_by_number.get(tag >> 3)
                    if field is not None and field.message_type is not None:
                        messages.append((start, position, field.message_type))
                    elif field is not None and field.type not in (field.TYPE_STRING, field.TYPE_BYTES):
                        numbers += len(content[start:position].translate(None, _CONTINUED))
    if fields > limits.fields or numbers > limits.values:
        raise TooLarge(f"the message has more than {limits.fields} fields, or {limits.values} numbers")


def _varint(content: bytes, position: int, end: int) -> tuple[int, int]:
    """Return a number and the position after it."""
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
