"""Decompresses gzip and zlib streams (RFC 1952, RFC 1950) step by step."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

#: zlib's window bits by encoding. HTTP and gRPC call a zlib stream deflate (RFC 9110, section 8.4.1.2).
WINDOW_BITS = {b"gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}

#: Content may be larger than this by `MAX_RATIO` times the bytes of the stream. JSON with reviews is 3 to 10 times as
#: large as its stream, and batches of one repeated review up to 180 times; a stream of one repeated byte, 1,000 times.
FREE_BYTES = 65_536
MAX_RATIO = 200

#: A low compression level saves most of the bytes in a fraction of the time.
LEVEL = 1

#: Compressed bytes per call of zlib, which copies the input that it does not consume.
_PIECE_BYTES = 8192


class NotOneStream(ValueError):
    """The data end before the stream does, or continue after it."""


def most_bytes(compressed: int) -> int:
    """Return the most bytes to which a stream of `compressed` bytes may expand."""
    return FREE_BYTES + MAX_RATIO * compressed


def decompress(data: bytes | bytearray, window_bits: int, step: int) -> Iterator[bytes]:
    """Yield the content in pieces of at most `step` bytes. Raises `zlib.error` and `NotOneStream`."""
    stream = zlib.decompressobj(window_bits)
    for start in range(0, len(data), _PIECE_BYTES):
        piece, full = data[start : start + _PIECE_BYTES], True
        while piece or full:
            produced = stream.decompress(piece, step)
            yield produced
            piece, full = stream.unconsumed_tail, len(produced) == step
            if stream.unused_data:
                raise NotOneStream
    if not stream.eof:
        raise NotOneStream
