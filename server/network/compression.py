"""Decompresses gzip and zlib streams (RFC 1952, RFC 1950) step by step."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

#: zlib's window bits by encoding. HTTP and gRPC call a zlib stream deflate (RFC 9110, section 8.4.1.2).
WINDOW_BITS = {b"gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}

#: Content may be larger than this by `MAX_RATIO` times the bytes of the stream. JSON with reviews is 3 to 10 times as
#: large as its stream, and batches of one repeated review up to 180 times; a stream of one repeated byte, 1,000 times.
FREE_BYTES = 65_536
MAX_RATIO = 200

#: A low compression level saves most of the bytes in a fraction of the time.
LEVEL = 1

#: Bytes that are decompressed per turn of the event loop. This takes about a tenth of a millisecond.
STEP_BYTES = 65_536

#: Compressed bytes per call of zlib, which copies the input that it does not consume.
_PIECE_BYTES = 8192


class NotOneStream(ValueError):
    """The data end before the stream does, or continue after it."""


def most_bytes(compressed: int) -> int:
    """Return the most bytes to which a stream of `compressed` bytes may expand."""
    return FREE_BYTES + MAX_RATIO * compressed


async def decompress_in_turns(
    data: bytes | bytearray, window_bits: int, lock: asyncio.Lock, hold: Callable[[int, int], None]
) -> bytes:
    """Return the content, decompressed in pieces of at most `STEP_BYTES`, about one per turn of the event loop.

    Calls `hold` with the bytes of each piece, and of all pieces so far, before it keeps the piece. A stream of a few
    kilobytes can expand to megabytes. From its second step on, it holds `lock`: with one lock for all streams of a
    worker, only one at a time is expanded, which bounds the time per turn and the memory. Raises `zlib.error`,
    `NotOneStream`, and what `hold` raises.
    """
    pieces: list[bytes] = []
    size = 0
    done, alone = 0, False  # bytes in this turn, compressed and decompressed
    async with AsyncExitStack() as stack:
        for piece in decompress(data, window_bits, STEP_BYTES):
            if done >= STEP_BYTES:
                await (asyncio.sleep(0) if alone else stack.enter_async_context(lock))
                done, alone = 0, True
            done += len(piece) + _PIECE_BYTES
            size += len(piece)
            hold(len(piece), size)
            pieces.append(piece)
    return b"".join(pieces)


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
