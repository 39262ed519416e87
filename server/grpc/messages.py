"""Splits the content of a stream into messages, and compresses messages.

Source: `Length-Prefixed-Message` in "gRPC over HTTP2", and "Compression", both in the gRPC documentation.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from functools import partial
from struct import Struct

from sentiment_conv1d.server.errors import Malformed, MessageTooLarge, UnsupportedEncoding
from sentiment_conv1d.server.network.compression import LEVEL

#: Supported values of `grpc-encoding`.
ENCODINGS = (b"identity", b"gzip", b"deflate")

#: The prefix of a message: whether it is compressed, and its length.
_PREFIX = Struct(">BL")
PREFIX_BYTES = _PREFIX.size

#: Answers are compressed from the first size on, and from the second size on they are compressed in a thread.
_WORTHWHILE_BYTES = 16_384
_THREAD_BYTES = 131_072

#: A message as it was received; a compressed one is a bytearray. The garbage collector visits neither, so its pauses do
#: not grow with the number of waiting messages.
Message = bytes | bytearray


def wrap(message: bytes, *, compressed: bool = False) -> bytes:
    """Return a message with its prefix."""
    return _PREFIX.pack(compressed, len(message)) + message


class Messages:
    """Splits content into messages of up to `limit` bytes, which can be compressed if there is an `encoding`.

    `admit` gets the length of every message when its prefix has arrived, and can raise `RequestError`.
    """

    def __init__(self, limit: int, encoding: bytes, admit: Callable[[int], None]) -> None:
        self._limit = limit
        self._encoding = encoding
        self._admit = admit
        self._admitted = False  # the next message
        self._buffer = bytearray()

    @property
    def incomplete(self) -> int:
        """The number of bytes received of an incomplete message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """Add content and return the messages that are now complete.

        Raises `MessageTooLarge` as soon as a prefix announces too many bytes, `Malformed`, and the errors of `admit`.
        """
        self._buffer += data
        complete: list[Message] = []
        while len(self._buffer) >= PREFIX_BYTES:
            flag, length = _PREFIX.unpack_from(self._buffer)
            if flag > 1:
                raise Malformed(f"the first byte of a message is {flag}, which is neither 0 nor 1")
            if flag and self._encoding == b"identity":
                raise Malformed("a message is compressed, but grpc-encoding names no compression")
            if length > self._limit:
                raise MessageTooLarge(f"a message has {length} bytes; the limit is {self._limit}")
            if not self._admitted:
                self._admit(length)
                self._admitted = True
            end = PREFIX_BYTES + length
            if len(self._buffer) < end:
                break
            self._admitted = False
            kind = bytearray if flag else bytes
            complete.append(kind(memoryview(self._buffer)[PREFIX_BYTES:end]))
            del self._buffer[:end]
        return complete


def only_message(data: bytes, limit: int) -> bytes | None:
    """Return the message if `data` is exactly one uncompressed message of up to `limit` bytes, else None."""
    size = len(data) - PREFIX_BYTES
    whole = 0 <= size <= limit and data[0] == 0 and int.from_bytes(data[1:PREFIX_BYTES]) == size
    return data[PREFIX_BYTES:] if whole else None


def check_encoding(encoding: bytes) -> None:
    """Raise `UnsupportedEncoding` if messages with this encoding cannot be read."""
    if encoding not in ENCODINGS:
        known = ", ".join(each.decode() for each in ENCODINGS)
        raise UnsupportedEncoding(f"grpc-encoding {encoding.decode('latin-1')!r} is not one of {known}")


async def encode(message: bytes, accepted: bytes) -> bytes:
    """Return an answer as a message with its prefix.

    A large answer is compressed if the client's `grpc-accept-encoding` contains gzip and the result is smaller.
    """
    if len(message) >= _WORTHWHILE_BYTES and b"gzip" in map(bytes.strip, accepted.split(b",")):
        compress = partial(gzip.compress, message, LEVEL, mtime=0)
        compressed = compress() if len(message) <= _THREAD_BYTES else await asyncio.to_thread(compress)
        if len(compressed) < len(message):
            return wrap(compressed, compressed=True)
    return wrap(message)
