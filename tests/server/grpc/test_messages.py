"""Compressing messages."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from sentiment_conv1d.server.errors import UnsupportedEncoding
from sentiment_conv1d.server.grpc.messages import ENCODINGS, PREFIX, check_encoding, encode, wrap


def test_encodings() -> None:
    """An unknown compression is refused, and the refusal lists the known ones."""
    for encoding in ENCODINGS:
        check_encoding(encoding)
    with pytest.raises(UnsupportedEncoding, match="identity, gzip, deflate"):
        check_encoding(b"br")


@pytest.mark.parametrize(
    ("size", "accepted", "worthwhile"),
    [
        (16_384, b"gzip", True),
        (16_384, b"identity,deflate, gzip", True),
        (16_383, b"gzip", False),
        (10**6, b"identity,deflate", False),
        (10**6, b"x-gzip", False),
        (10**6, b"", False),
    ],
)
def test_choice_of_compression(size: int, accepted: bytes, worthwhile: bool) -> None:
    """Answers above a size are compressed for clients that accept it."""
    encoded = asyncio.run(encode(b"m" * size, accepted))
    assert (encoded != wrap(b"m" * size)) is worthwhile


@pytest.mark.parametrize("size", [16_384, 131_072, 131_073, 10**6])
def test_compressed_answers(size: int) -> None:
    """Compressed answers are smaller, deterministic, and decompress to the original, on a thread or not."""
    content = b"A great film. " * (size // 14 + 1)
    first, second = asyncio.run(encode(content, b"gzip")), asyncio.run(encode(content, b"gzip"))
    assert first == second and len(first) < size // 10
    assert gzip.decompress(first[PREFIX.size :]) == content
