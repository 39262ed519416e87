"""gzip and deflate, both ways."""

from __future__ import annotations

import asyncio
import gzip
import zlib

from service.buffers import BODY_FACTOR, Charge
from service.errors import Malformed, TooLarge, UnsupportedEncoding

#: zlib's window bits: 31 reads and writes the gzip wrapper, 15 the zlib one, which HTTP calls deflate (RFC 9110).
_WINDOW_BITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}

#: Bytes that are decompressed in one turn of the event loop, about a millisecond.
_STEP_BYTES = 262_144

#: A low level: most of the gain for a fraction of the time.
_LEVEL = 1


async def decompress(body: bytes, encoding: bytes, limit: int, charge: Charge) -> bytes:
    """A body without its Content-Encoding, at most `limit` bytes of it, which are added to the request's charge.

    Raises `UnsupportedEncoding`, `TooLarge` before more than the limit was produced, `Overloaded` or `Malformed`.
    """
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise UnsupportedEncoding(f"Content-Encoding {encoding.decode('latin-1')!r} is not one of gzip and deflate")
    stream = zlib.decompressobj(_WINDOW_BITS[encoding])
    plain = bytearray()
    piece = body
    while not stream.eof:
        try:
            produced = stream.decompress(piece, _STEP_BYTES)
        except zlib.error as error:
            raise Malformed(f"the body is not valid {encoding.decode()}: {error}") from None
        charge.add(BODY_FACTOR * len(produced))
        plain += produced
        if len(plain) > limit:
            raise TooLarge(f"the decompressed body has more than {limit} bytes, which is the limit")
        piece = stream.unconsumed_tail
        if not piece and not produced:
            break
        if len(produced) == _STEP_BYTES:
            await asyncio.sleep(0)
    if not stream.eof or stream.unused_data:
        raise Malformed(f"the body is not one whole {encoding.decode()} stream")
    return bytes(plain)


def compress(body: bytes, accepted: bytes) -> tuple[bytes, bytes]:
    """The body in the first encoding that an Accept-Encoding header allows and we have, and that encoding.

    The encoding is empty where the body stays as it is.
    """
    for offer in accepted.lower().split(b","):
        name, _, quality = offer.partition(b";")
        if quality.replace(b" ", b"") in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"):
            continue
        match name.strip():
            case b"gzip":
                return gzip.compress(body, _LEVEL, mtime=0), b"gzip"
            case b"deflate":
                return zlib.compress(body, _LEVEL), b"deflate"
            case b"identity":
                break
    return body, b""
