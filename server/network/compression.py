"""Decompresses gzip and zlib streams (RFC 1952, RFC 1950) step by step."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

from sentiment_conv1d.server.errors import Malformed, TooLarge

#: zlib's window bits by encoding. HTTP and gRPC call a zlib stream deflate, and x-gzip is another name of gzip
#: (RFC 9110, section 8.4.1).
WINDOW_BITS = {b"gzip": zlib.MAX_WBITS | 16, b"x-gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}

#: Content may be larger than this by `MAX_RATIO` times the bytes of the stream. JSON with reviews is 3 to 10 times as
#: large as its stream, and batches of one repeated review up to 180 times; a stream of one repeated byte, 1,000 times.
FREE_BYTES = 65_536
MAX_RATIO = 200

#: A low compression level saves most of the bytes in a fraction of the time.
LEVEL = 1

#: Bytes that are decompressed per turn of the event loop. This takes about a tenth of a millisecond.
STEP_BYTES = 65_536

#: Compressed bytes per call of zlib. It copies the input that it does not consume, so larger pieces cost more.
_PIECE_BYTES = 8192


async def expand(
    data: bytes | bytearray,
    encoding: bytes,
    limit: int,
    lock: asyncio.Lock,
    hold: Callable[[int], None],
    too_large: type[TooLarge] = TooLarge,
) -> bytes:
    """Return the content, decompressed in pieces of at most `STEP_BYTES`, about one per turn of the event loop.

    Calls `hold` with the bytes of each piece before it keeps the piece. A stream of a few kilobytes can expand to
    megabytes. From its second step on, it holds `lock`: with one lock for all streams of a worker, only one at a time
    is expanded, which bounds the time per turn and the memory. Raises `Malformed`, `too_large` beyond `limit` bytes or
    those to which such a short stream may expand, and what `hold` raises.
    """
    most = FREE_BYTES + MAX_RATIO * len(data)
    pieces: list[bytes] = []
    size = 0
    done, alone = 0, False  # bytes in this turn, compressed and decompressed
    try:
        async with AsyncExitStack() as stack:
            for piece in decompress(data, WINDOW_BITS[encoding]):
                if done >= STEP_BYTES:
                    await (asyncio.sleep(0) if alone else stack.enter_async_context(lock))
                    done, alone = 0, True
                done += len(piece) + _PIECE_BYTES
                size += len(piece)
                if size > limit:
                    raise too_large(f"the decompressed content has more than {limit} bytes, which is the limit")
                if size > most:
                    raise too_large(
                        f"{len(data)} compressed bytes expand to more than {most} bytes, the limit for that size"
                    )
                hold(len(piece))
                pieces.append(piece)
    except zlib.error as error:
        raise Malformed(f"the content is not valid {encoding.decode()}: {error}") from None
    return b"".join(pieces)


def decompress(data: bytes | bytearray, window_bits: int) -> Iterator[bytes]:
    """Yield the content in pieces of at most `STEP_BYTES`. Raises `zlib.error`."""
    stream = zlib.decompressobj(window_bits)
    for start in range(0, len(data), _PIECE_BYTES):
        piece, full = data[start : start + _PIECE_BYTES], True
        while piece or full:
            produced = stream.decompress(piece, STEP_BYTES)
            yield produced
            piece, full = stream.unconsumed_tail, len(produced) == STEP_BYTES
            if stream.unused_data:
                raise zlib.error("there are bytes after the end of the stream")
    if not stream.eof:
        raise zlib.error("the stream is not complete")
