"""Messages cut out of the data of a stream, and put into it.

Source: `Length-Prefixed-Message` in gRPC's document on its protocol over HTTP/2, and its document on compression.
"""

from __future__ import annotations

import zlib
from struct import Struct

from service.errors import Malformed, MessageTooLarge, UnsupportedEncoding

#: How messages may be compressed, and what zlib has to know for it. An answer never is.
_WINDOW_BITS = {b"gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}
ENCODINGS = (b"identity", *_WINDOW_BITS)

#: Whether it is compressed, and its length.
_PREFIX = Struct(">BL")
PREFIX_BYTES = _PREFIX.size


def wrap(message: bytes) -> bytes:
    """A message with what stands in front of it."""
    return _PREFIX.pack(0, len(message)) + message


class Messages:
    """Cuts messages of at most `limit` bytes, compressed by `encoding`, out of what arrives."""

    def __init__(self, limit: int, encoding: bytes) -> None:
        self._limit = limit
        self._encoding = encoding
        self._buffer = bytearray()
        self._compressed = False
        self._needed: int | None = None  # bytes of the message that has begun, once that is known

    @property
    def incomplete(self) -> int:
        """The bytes that are here of a message which is not complete."""
        return len(self._buffer) + (0 if self._needed is None else PREFIX_BYTES)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now.

        Raises `MessageTooLarge` as soon as that is announced, `Malformed`, `UnsupportedEncoding`.
        """
        self._buffer += data
        complete: list[bytes] = []
        while True:
            if self._needed is None:
                if len(self._buffer) < PREFIX_BYTES:
                    return complete
                self._compressed, self._needed = self._begin(*_PREFIX.unpack_from(self._buffer))
                del self._buffer[:PREFIX_BYTES]
            if len(self._buffer) < self._needed:
                return complete
            message = bytes(memoryview(self._buffer)[: self._needed])
            del self._buffer[: self._needed]
            self._needed = None
            complete.append(self._expand(message) if self._compressed else message)

    def _begin(self, flag: int, length: int) -> tuple[bool, int]:
        if flag > 1:
            raise Malformed(f"a message begins with 0 or 1, this one with {flag}")
        if flag and self._encoding == b"identity":
            raise Malformed("a message says that it is compressed, but not how")
        if length > self._limit:
            raise MessageTooLarge(f"a message of {length} bytes is larger than max_body_bytes, {self._limit}")
        return bool(flag), length

    def _expand(self, message: bytes) -> bytes:
        decompressor = zlib.decompressobj(_WINDOW_BITS[self._encoding])
        try:
            expanded = decompressor.decompress(message, self._limit + 1)
        except zlib.error:
            raise Malformed(f"a message is no {self._encoding.decode()}") from None
        if len(expanded) > self._limit:
            raise MessageTooLarge(f"a message is larger than max_body_bytes, {self._limit}, when it is expanded")
        if not decompressor.eof or decompressor.unused_data:
            raise Malformed(f"a message is no {self._encoding.decode()}")
        return expanded


def check_encoding(encoding: bytes) -> None:
    """Raise `UnsupportedEncoding` unless messages compressed so can be read."""
    if encoding not in ENCODINGS:
        known = ", ".join(each.decode() for each in ENCODINGS)
        raise UnsupportedEncoding(f"grpc-encoding is {encoding.decode('latin-1')}; what is understood is {known}")
