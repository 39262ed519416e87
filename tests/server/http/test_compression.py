"""The encodings of bodies and answers."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest

from sentiment_conv1d.server.errors import UnsupportedEncoding
from sentiment_conv1d.server.http.compression import choose_encoding, compress, decompress
from sentiment_conv1d.server.network.buffers import Buffers, Charge

BODY = b"good " * 1000

#: Functions that return the content, by encoding.
EXPAND: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.decompress, b"deflate": zlib.decompress, b"": bytes}


def decompressed(body: bytes, encoding: bytes) -> bytes:
    """Return the content of a body."""
    return asyncio.run(decompress(body, encoding, len(BODY), Charge(Buffers(1 << 20)), asyncio.Lock()))


@pytest.mark.parametrize(
    ("accepted", "used"),
    [
        (b"gzip", b"gzip"),
        (b"deflate", b"deflate"),
        (b"br, gzip;q=0.5", b"gzip"),
        (b"gzip;q=0, deflate", b"deflate"),
        (b"identity", b""),
        (b"identity;q=0.5, gzip", b""),
        (b"gzip; q=0.000", b""),
        (b"br", b""),
        (b"", b""),
        # Only the beginning of a header with many encodings is read.
        (b"br, gzip;q=0, " + b"x," * 28 + b"GZIP", b"gzip"),
        (b"," * 60_000 + b"gzip", b""),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_offers(accepted: bytes, used: bytes) -> None:
    """The first encoding that is supported and allowed is used."""
    encoding = choose_encoding(accepted)
    packed = compress(BODY, encoding)
    assert encoding == used
    assert EXPAND[used](packed) == BODY


def test_encodings() -> None:
    """A body can state how it is compressed, or that it is not, in any case."""
    for encoding in (b"gzip", b"x-gzip", b" GZIP"):
        assert decompressed(gzip.compress(BODY), encoding) == BODY
    assert decompressed(zlib.compress(BODY), b"deflate") == BODY
    for encoding in (b"", b"identity", b"Identity"):
        assert decompressed(BODY, encoding) == BODY


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"compress", b"nonsense", b"\xff"])
def test_unsupported_encodings(encoding: bytes) -> None:
    """An unsupported encoding is refused, and the message names it and the others."""
    with pytest.raises(UnsupportedEncoding, match=f"{encoding.decode('latin-1')}' is not one of gzip and deflate"):
        decompressed(BODY, encoding)
