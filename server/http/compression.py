"""Compression of bodies with gzip and deflate."""

from __future__ import annotations

import asyncio
import gzip
import zlib

from sentiment_conv1d.server.errors import Malformed, TooLarge, UnsupportedEncoding
from sentiment_conv1d.server.network import compression
from sentiment_conv1d.server.network.buffers import BODY_FACTOR, Charge

#: x-gzip is another name of gzip (RFC 9110, section 8.4.1.3).
_WINDOW_BITS = compression.WINDOW_BITS | {b"x-gzip": compression.WINDOW_BITS[b"gzip"]}


async def decompress(body: bytes, encoding: bytes, limit: int, charge: Charge, lock: asyncio.Lock) -> bytes:
    """Decompress a body to at most `limit` bytes, which are added to the request's charge.

    Large ones are decompressed one at a time, for which they hold the lock.

    Raises `UnsupportedEncoding`, `TooLarge` before it produces more than the limit, or more than such a short body may
    expand to, `Overloaded` or `Malformed`.
    """
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise UnsupportedEncoding(f"Content-Encoding {encoding.decode('latin-1')!r} is not one of gzip and deflate")
    most = compression.most_bytes(len(body))

    def hold(count: int, size: int) -> None:
        charge.add(BODY_FACTOR * count)
        if size > limit:
            raise TooLarge(f"the decompressed body has more than {limit} bytes, which is the limit")
        if size > most:
            raise TooLarge(
                f"{len(body)} compressed bytes expand to more than {most} bytes, which is the limit for so few"
            )

    try:
        return await compression.decompress_in_turns(body, _WINDOW_BITS[encoding], lock, hold)
    except zlib.error as error:
        raise Malformed(f"the body is not valid {encoding.decode()}: {error}") from None
    except compression.NotOneStream:
        raise Malformed(f"the body is not one whole {encoding.decode()} stream") from None


def compress(body: bytes, accepted: bytes) -> tuple[bytes, bytes]:
    """Compress a body with the first supported encoding that an Accept-Encoding header allows.

    Returns the body and the encoding, which is empty if the body is not compressed.
    """
    for offer in accepted.lower().split(b","):
        name, _, quality = offer.partition(b";")
        if quality.replace(b" ", b"") in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"):
            continue
        match name.strip():
            case b"gzip":
                return gzip.compress(body, compression.LEVEL, mtime=0), b"gzip"
            case b"deflate":
                return zlib.compress(body, compression.LEVEL), b"deflate"
            case b"identity":
                break
    return body, b""
