"""Frames and compresses messages.

Source: `Length-Prefixed-Message` in "gRPC over HTTP2", and "Compression", both in the gRPC documentation.
"""

from __future__ import annotations

import asyncio
import gzip
from functools import partial
from struct import Struct

from sentiment_conv1d.server.errors import UnsupportedEncoding
from sentiment_conv1d.server.network.compression import LEVEL

#: Supported values of `grpc-encoding`.
ENCODINGS = (b"identity", b"gzip", b"deflate")

#: The prefix of a message: whether it is compressed, and its length.
PREFIX = Struct(">BL")

#: Answers are compressed from the first size on, and from the second size on they are compressed in a thread.
_WORTHWHILE_BYTES = 16_384
_THREAD_BYTES = 131_072


def wrap(message: bytes, *, compressed: bool = False) -> bytes:
    """Return a message with its prefix."""
    return PREFIX.pack(compressed, len(message)) + message


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
