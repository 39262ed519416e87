"""The choice of an encoding for an answer."""

from __future__ import annotations

import gzip

from sentiment_conv1d.server.http.compression import compress


def test_offers() -> None:
    """The first encoding that is supported and allowed is used, if it is at the beginning of a header with many."""
    body = b"good " * 1000
    packed, encoding = compress(body, b"br, gzip;q=0, " + b"x," * 28 + b"GZIP")
    assert encoding == b"gzip" and gzip.decompress(packed) == body
    assert compress(body, b"," * 60_000 + b"gzip") == (body, b"")
