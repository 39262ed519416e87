"""Blocks of header fields: those of requests read, those of answers written (HPACK, RFC 7541; RFC 9113, section 8)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import hpack

from service.http2.frames import ConnectionFault, Fault

#: The most that a request's fields may come to, as RFC 9113 counts them, before the connection is given up. The state
#: of the compression would be lost with the rest of them.
MAX_LIST_BYTES = 65_536

#: A block of nothing but these bytes is made of fields that both sides have in their tables, one byte each.
_INDEXED = bytes(range(0x81, 0xFF))

#: Of such blocks, the most that are kept for a connection. A client seldom has more than a few.
_MAX_KNOWN = 64

#: More changes of the table's size than there can be in front of a block (RFC 7541, section 4.2). Each takes one byte
#: and as long as a field.
_RESIZED_THRICE = re.compile(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*[\0-\x7f]){3}")

#: That nothing will ever be in the table for answers, which fits whatever size a client has set for it.
NO_TABLE = b"\x20"

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(rb"[^\0\r\n]*")
_LENGTH = re.compile(rb"[0-9]{1,18}")

#: Fields of HTTP/1.1's connections.
_FOREIGN = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})

_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_REQUIRED = frozenset({b":method", b":scheme", b":path"})


class Head(NamedTuple):
    """A request's method and path, its fields by name, their size as RFC 9113 counts it, and its `content-length`.

    Fields of one name are one, with commas between their values (RFC 9110, section 5.3).
    """

    method: bytes
    path: bytes
    fields: Mapping[bytes, bytes]
    size: int
    length: int | None


class Decoder:
    """The fields of one connection's requests, whose blocks depend on the blocks before."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(MAX_LIST_BYTES)
        self._known: dict[bytes, Head | None] = {}

    def decode(self, block: bytes) -> Head | None:
        """The head of a request; None if it is none. Raises `ConnectionFault` where the block cannot be read."""
        try:
            return self._known[block]
        except KeyError:
            pass
        head = _head(self._decode(block))
        # As long as the table stays as it is, the same bytes mean the same.
        if block.translate(None, _INDEXED) or len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        else:
            self._known[block] = head
        return head

    def skip(self, block: bytes) -> bool:
        """Read a block that no one asks for, since the next ones may depend on it. Raises as `decode` does.

        Returns whether its fields may stand after the data of a request.
        """
        pairs = self._decode(block)
        self._known.clear()
        return all(_is_field(name, value) for name, value in pairs)

    def _decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        if _RESIZED_THRICE.match(block):
            raise ConnectionFault(Fault.COMPRESSION_ERROR, "the table of header fields changes its size too often")
        try:
            return [(name, value) for name, value in self._decoder.decode(block, raw=True)]
        except hpack.OversizedHeaderListError:
            reason = f"the header fields have more than {MAX_LIST_BYTES} bytes"
            raise ConnectionFault(Fault.ENHANCE_YOUR_CALM, reason) from None
        except (hpack.HPACKError, ValueError, IndexError) as error:
            raise ConnectionFault(Fault.COMPRESSION_ERROR, "a block of header fields cannot be read") from error


def encode(name: bytes, value: bytes) -> bytes:
    """A field that goes into no table."""
    return b"\0" + _string(name) + _string(value)


def _string(value: bytes) -> bytes:
    """A string literal that is not compressed (RFC 7541, section 5.2)."""
    size = len(value)
    if size < 0x7F:
        return bytes((size,)) + value
    head, size = bytearray((0x7F,)), size - 0x7F
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + value


def _head(pairs: list[tuple[bytes, bytes]]) -> Head | None:
    """What a request's fields say; None where they break the rules of RFC 9113, section 8.2 and 8.3."""
    pseudo: dict[bytes, bytes] = {}
    fields: dict[bytes, bytes] = {}
    size = 0
    for name, value in pairs:
        size += len(name) + len(value) + 32
        if name.startswith(b":"):
            if fields or name in pseudo or name not in _PSEUDO or not _VALUE.fullmatch(value):
                return None
            pseudo[name] = value
        elif not _is_field(name, value):
            return None
        else:
            fields[name] = fields[name] + b"," + value if name in fields else value
    if not pseudo.keys() >= _REQUIRED or not pseudo[b":path"]:
        return None
    length = fields.get(b"content-length")
    if length is not None and not _LENGTH.fullmatch(length):
        return None
    return Head(pseudo[b":method"], pseudo[b":path"], fields, size, None if length is None else int(length))


def _is_field(name: bytes, value: bytes) -> bool:
    """Whether it may stand in a request, and is none of those with a colon."""
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name in _FOREIGN:
        return False
    return name != b"te" or value == b"trailers"
