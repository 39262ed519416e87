"""Splitting received bytes into messages, and compressing messages."""

from __future__ import annotations

import asyncio
import gc
import gzip
import itertools
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.server.errors import Malformed, MessageTooLarge, RequestError, UnsupportedEncoding
from sentiment_conv1d.server.grpc.messages import (
    PREFIX_BYTES,
    Messages,
    check_encoding,
    encode,
    wrap,
)

LIMIT = 100

COMPRESS: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"deflate": zlib.compress}
ENCODINGS = [b"identity", *COMPRESS]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


# Where messages begin and end.


@given(
    st.lists(st.tuples(st.binary(max_size=LIMIT), st.booleans()), max_size=5),
    st.lists(st.integers(0, 1000)),
    st.sampled_from(sorted(COMPRESS)),
)
def test_messages(contents: list[tuple[bytes, bool]], places: list[int], encoding: bytes) -> None:
    """Messages are found at any division of the bytes, and compressed ones are marked."""
    data = b"".join(wrap(content, compressed=compressed) for content, compressed in contents)
    messages = Messages(LIMIT, encoding, lambda length: None)
    found = [each for piece in cut(data, places) for each in messages.feed(piece)]
    assert [(each, isinstance(each, bytearray)) for each in found] == contents
    assert not any(map(gc.is_tracked, found))
    assert messages.incomplete == 0


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)), st.sampled_from(ENCODINGS))
def test_any_bytes(data: bytes, places: list[int], encoding: bytes) -> None:
    """Arbitrary bytes give messages within the limit or a refusal, and no more is stored than has arrived."""
    messages = Messages(LIMIT, encoding, lambda length: None)
    arrived = 0
    try:
        for piece in cut(data, places):
            arrived += len(piece)
            for each in messages.feed(piece):
                assert len(each) <= LIMIT
                arrived -= PREFIX_BYTES + len(each)
            assert messages.incomplete == arrived
    except RequestError:
        pass


def test_limit() -> None:
    """A message of exactly the limit is accepted, and a larger one is refused after its prefix."""
    assert Messages(LIMIT, b"identity", lambda length: None).feed(wrap(bytes(LIMIT))) == [bytes(LIMIT)]
    with pytest.raises(MessageTooLarge, match="a message has 101 bytes; the limit is 100"):
        Messages(LIMIT, b"identity", lambda length: None).feed(wrap(bytes(LIMIT + 1))[:PREFIX_BYTES])


@pytest.mark.parametrize(("flag", "encoding"), [(2, b"gzip"), (255, b"gzip"), (1, b"identity")])
def test_flags(flag: int, encoding: bytes) -> None:
    """The flag of a message is 0, or 1 if the call names a compression."""
    with pytest.raises(Malformed):
        Messages(LIMIT, encoding, lambda length: None).feed(bytes((flag, 0, 0, 0, 0)))


def test_encodings() -> None:
    """An unknown compression is refused, and the refusal lists the known ones."""
    for encoding in ENCODINGS:
        check_encoding(encoding)
    with pytest.raises(UnsupportedEncoding, match="identity, gzip, deflate"):
        check_encoding(b"br")


# Compression.


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
    assert gzip.decompress(first[PREFIX_BYTES:]) == content
