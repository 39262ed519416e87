"""Messages in the content of a stream: where they begin and end, and their compression.

Source: `Length-Prefixed-Message` in gRPC's document on its protocol over HTTP/2, and its document on compression.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from struct import Struct
from typing import NamedTuple

from sentiment_conv1d.service.errors import Malformed, MessageTooLarge, UnsupportedEncoding
from sentiment_conv1d.service.network import compression

#: Encodings of messages.
ENCODINGS = (b"identity", *compression.WINDOW_BITS)

#: Whether a message is compressed, and its length.
_PREFIX = Struct(">BL")
PREFIX_BYTES = _PREFIX.size

#: Bytes that are decompressed in one turn of the event loop, a tenth of a millisecond's work.
_STEP_BYTES = 65_536

#: Answers of fewer bytes are not worth compressing; larger ones than the other bound are compressed on a thread.
_WORTHWHILE_BYTES = 16_384
_THREAD_BYTES = 131_072


class Message(NamedTuple):
    """A message as it arrived."""

    content: bytes
    compressed: bool


def wrap(message: bytes, *, compressed: bool = False) -> bytes:
    """A message with its prefix."""
    return _PREFIX.pack(compressed, len(message)) + message


class Messages:
    """Cuts messages of at most `limit` bytes out of what arrives; compressed ones are allowed with an `encoding`."""

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

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now.

        Raises `MessageTooLarge` as soon as that is announced, and `Malformed`.
        """
        self._buffer += data
        complete: list[Message] = []
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
            complete.append(Message(message, self._compressed))

    def _begin(self, flag: int, length: int) -> tuple[bool, int]:
        if flag > 1:
            raise Malformed(f"a message begins with 0 or 1, this one with {flag}")
        if flag and self._encoding == b"identity":
            raise Malformed("a message says that it is compressed, but not how")
        if length > self._limit:
            raise MessageTooLarge(f"a message of {length} bytes is larger than max_body_bytes, {self._limit}")
        return bool(flag), length


class Decompression:
    """Decompresses messages of at most `limit` bytes on the event loop, a step a turn, one large message at a time.

    A message of a few kilobytes may expand to megabytes, so the number of those that are expanded at once bounds both
    the time of a turn and the memory.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = asyncio.Lock()

    async def expand(self, message: bytes, encoding: bytes, hold: Callable[[int], None]) -> bytes:
        """A message without its compression. `hold` is called with the number of bytes before they are kept.

        Raises `MessageTooLarge`, `Malformed`, and what `hold` raises.
        """
        pieces: list[bytes] = []
        size = 0
        async with AsyncExitStack() as stack:
            try:
                for piece in compression.decompress(message, compression.WINDOW_BITS[encoding], _STEP_BYTES):
                    if len(pieces) == 1:
                        await stack.enter_async_context(self._lock)
                    elif pieces:
                        await asyncio.sleep(0)
                    size += len(piece)
                    if size > self._limit:
                        raise MessageTooLarge(
                            f"a message is larger than max_body_bytes, {self._limit}, when it is expanded"
                        )
                    hold(len(piece))
                    pieces.append(piece)
            except (zlib.error, compression.NotOneStream):
                raise Malformed(f"a message is no {encoding.decode()}") from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def only_message(data: bytes, limit: int) -> Message | None:
    """The message that data consist of, if it is one of at most `limit` bytes and not compressed."""
    size = len(data) - PREFIX_BYTES
    whole = 0 <= size <= limit and data[0] == 0 and int.from_bytes(data[1:PREFIX_BYTES]) == size
    return Message(data[PREFIX_BYTES:], compressed=False) if whole else None


def check_encoding(encoding: bytes) -> None:
    """Raise `UnsupportedEncoding` unless messages compressed so can be read."""
    if encoding not in ENCODINGS:
        known = ", ".join(each.decode() for each in ENCODINGS)
        raise UnsupportedEncoding(f"grpc-encoding is {encoding.decode('latin-1')}; what is understood is {known}")


def worth_compressing(size: int, accepted: bytes) -> bool:
    """Whether an answer of that many bytes is compressed for a client with that `grpc-accept-encoding`."""
    return size >= _WORTHWHILE_BYTES and b"gzip" in (each.strip() for each in accepted.split(b","))


async def encode(message: bytes, accepted: bytes) -> bytes:
    """A message with its prefix, compressed if the client accepts that and it gains something."""
    if worth_compressing(len(message), accepted):
        compressed = await compress(message)
        if len(compressed) < len(message):
            return wrap(compressed, compressed=True)
    return wrap(message)


async def compress(message: bytes) -> bytes:
    """A message as gzip, made on a thread if it is large."""
    if len(message) <= _THREAD_BYTES:
        return gzip.compress(message, compression.LEVEL, mtime=0)
    return await asyncio.to_thread(gzip.compress, message, compression.LEVEL, mtime=0)
