"""Compression of bodies with gzip and deflate."""

from __future__ import annotations

import asyncio
import gzip
import zlib

from sentiment_conv1d.server.errors import UnsupportedEncoding
from sentiment_conv1d.server.network.buffers import BODY_FACTOR, Charge
from sentiment_conv1d.server.network.compression import LEVEL, WINDOW_BITS, expand

#: The encodings of an Accept-Encoding header that are considered. Browsers send five, and a header can have 60,000.
_MAX_OFFERS = 32


async def decompress(body: bytes, encoding: bytes, limit: int, charge: Charge, lock: asyncio.Lock) -> bytes:
    """Decompress a body to at most `limit` bytes, which are added to the request's charge.

    Raises `UnsupportedEncoding`, and the errors of `expand`.
    """
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding not in WINDOW_BITS:
        raise UnsupportedEncoding(f"Content-Encoding {encoding.decode('latin-1')!r} is not one of gzip and deflate")
    return await expand(body, encoding, limit, lock, lambda count: charge.add(BODY_FACTOR * count))


def choose_encoding(accepted: bytes) -> bytes:
    """Return the first supported encoding that the beginning of an Accept-Encoding header allows, or no bytes."""
    for offer in accepted.lower().split(b",", _MAX_OFFERS)[:_MAX_OFFERS]:
        name, _, quality = offer.partition(b";")
        if quality.replace(b" ", b"") in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"):
            continue
        match name.strip():
            case b"gzip" | b"deflate" as encoding:
                return encoding
            case b"identity":
                break
    return b""


def compress(body: bytes, encoding: bytes) -> bytes:
    """Compress a body with an encoding that `choose_encoding` has returned."""
    match encoding:
        case b"gzip":
            return gzip.compress(body, LEVEL, mtime=0)
        case b"deflate":
            return zlib.compress(body, LEVEL)
    return body
