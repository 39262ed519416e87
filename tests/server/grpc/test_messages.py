"""Splitting received bytes into messages, and compressing messages."""

from __future__ import annotations

import asyncio
import gc
import gzip
import itertools
import os
import random
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.server.errors import Malformed, MessageTooLarge, Overloaded, RequestError, UnsupportedEncoding
from sentiment_conv1d.server.grpc.messages import (
    PREFIX_BYTES,
    Decompression,
    Messages,
    check_encoding,
    encode,
    wrap,
)
from sentiment_conv1d.server.network.compression import most_bytes

LIMIT = 100

#: The arguments of `Decompression`: the largest decompressed size, and the size per turn of the event loop.
EXPANDED = 1_000_000
STEP = 65_536

#: Content that compresses to about a hundredth, which is less than the largest ratio.
LARGE = random.Random(1).randbytes(EXPANDED // 100) * 100

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
    messages = Messages(LIMIT, encoding)
    found = [each for piece in cut(data, places) for each in messages.feed(piece)]
    assert [(each, isinstance(each, bytearray)) for each in found] == contents
    assert not any(map(gc.is_tracked, found))
    assert messages.incomplete == 0


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)), st.sampled_from(ENCODINGS))
def test_any_bytes(data: bytes, places: list[int], encoding: bytes) -> None:
    """Arbitrary bytes give messages within the limit or a refusal, and no more is stored than has arrived."""
    messages = Messages(LIMIT, encoding)
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
    assert Messages(LIMIT, b"identity").feed(wrap(bytes(LIMIT))) == [bytes(LIMIT)]
    with pytest.raises(MessageTooLarge, match="a message of 101 bytes is larger than max_body_bytes, 100"):
        Messages(LIMIT, b"identity").feed(wrap(bytes(LIMIT + 1))[:PREFIX_BYTES])


@pytest.mark.parametrize(("flag", "encoding"), [(2, b"gzip"), (255, b"gzip"), (1, b"identity")])
def test_flags(flag: int, encoding: bytes) -> None:
    """The flag of a message is 0, or 1 if the call names a compression."""
    with pytest.raises(Malformed):
        Messages(LIMIT, encoding).feed(bytes((flag, 0, 0, 0, 0)))


def test_encodings() -> None:
    """An unknown compression is refused, and the refusal lists the known ones."""
    for encoding in ENCODINGS:
        check_encoding(encoding)
    with pytest.raises(UnsupportedEncoding, match="identity, gzip, deflate"):
        check_encoding(b"br")


# Decompression.


async def expand(data: bytes, encoding: bytes, limit: int = EXPANDED) -> tuple[bytes, list[int]]:
    """Decompress a message. Returns its content and the bytes that were counted at each step."""
    held: list[int] = []
    return await Decompression(limit, asyncio.Lock()).expand(data, encoding, held.append), held


@given(
    content=st.binary(max_size=2000),
    times=st.integers(1, 300),
    encoding=st.sampled_from(sorted(COMPRESS)),
)
def test_expanded_messages(content: bytes, times: int, encoding: bytes) -> None:
    """The decompressed message is the original, and every byte is counted, one step at a time."""
    content *= times
    expanded, held = asyncio.run(expand(COMPRESS[encoding](content), encoding))
    assert expanded == content
    assert sum(held) == len(content) and max(held) <= STEP


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_content_that_cannot_be_compressed(encoding: bytes) -> None:
    """A message that compression made larger is decompressed."""
    content = os.urandom(EXPANDED)
    assert asyncio.run(expand(COMPRESS[encoding](content), encoding))[0] == content


@given(content=st.binary(max_size=2000), encoding=st.sampled_from(sorted(COMPRESS)), data=st.data())
def test_broken_messages(content: bytes, encoding: bytes, data: st.DataObject) -> None:
    """A message that is incomplete or has bytes after its end is refused."""
    whole = COMPRESS[encoding](content)
    for broken in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + data.draw(st.binary(min_size=1))):
        with pytest.raises(Malformed, match="a message is no "):
            asyncio.run(expand(broken, encoding))


@given(data=st.binary(max_size=300), encoding=st.sampled_from(sorted(COMPRESS)))
def test_arbitrary_bytes(data: bytes, encoding: bytes) -> None:
    """Bytes that are not a compressed message are refused."""
    with pytest.raises(Malformed):
        asyncio.run(expand(data, encoding))


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_limit_of_the_decompressed_size(encoding: bytes) -> None:
    """The limit applies to the decompressed size, and bytes beyond it are neither counted nor stored."""
    for size in (0, 1, STEP - 1, STEP, STEP + 1, EXPANDED):
        assert len(asyncio.run(expand(COMPRESS[encoding](LARGE[:size]), encoding))[0]) == size
    held: list[int] = []
    for size in (EXPANDED + 1, 100 * EXPANDED):
        held.clear()
        with pytest.raises(MessageTooLarge, match="larger than max_body_bytes, 1000000, when it is expanded"):
            asyncio.run(
                Decompression(EXPANDED, asyncio.Lock()).expand(
                    COMPRESS[encoding]((LARGE * 101)[:size]), encoding, held.append
                )
            )
        assert sum(held) <= EXPANDED


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_limit_of_the_ratio(encoding: bytes) -> None:
    """A short message expands to at most 64 KiB and 200 times its size, and nothing beyond is counted."""
    message = COMPRESS[encoding](bytes(EXPANDED))
    held: list[int] = []
    with pytest.raises(MessageTooLarge, match=f"{len(message)} compressed bytes expand to more than"):
        asyncio.run(Decompression(EXPANDED, asyncio.Lock()).expand(message, encoding, held.append))
    assert sum(held) <= most_bytes(len(message)) < EXPANDED


def test_others_get_their_turn() -> None:
    """A large message is decompressed one step per turn of the event loop."""

    async def steps() -> int:
        turns = 0
        expanding = asyncio.ensure_future(expand(gzip.compress(LARGE), b"gzip"))
        while not expanding.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(steps()) >= EXPANDED // STEP


def test_one_large_message_at_a_time() -> None:
    """A second large message waits after its first step, and small messages do not wait."""
    order: list[int] = []

    async def several() -> list[bytes]:
        decompression = Decompression(EXPANDED, asyncio.Lock())
        contents = [LARGE, LARGE[1:], b"small", LARGE[2:]]
        return await asyncio.gather(
            *(
                decompression.expand(gzip.compress(content), b"gzip", lambda size, number=number: order.append(number))  # type: ignore[misc]
                for number, content in enumerate(contents)
            )
        )

    assert [len(content) for content in asyncio.run(several())] == [EXPANDED, EXPANDED - 1, 5, EXPANDED - 2]
    end = len(order) - order[::-1].index(0)  # of the first message
    assert 2 in order[:end] and order[end:] == sorted(order[end:])
    assert order[:end].count(1) < order.count(1) / 4


@pytest.mark.parametrize("end", ["refused", "cancelled", "broken"])
def test_large_messages_that_are_given_up(end: str) -> None:
    """The next large message is decompressed after any kind of end of the previous one."""

    async def two() -> bytes:
        decompression = Decompression(EXPANDED, asyncio.Lock())
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            if end == "refused" and held > EXPANDED // 2:
                raise Overloaded("full")

        data = gzip.compress(LARGE)
        first = asyncio.ensure_future(decompression.expand(data[:-4] if end == "broken" else data, b"gzip", hold))
        for _ in range(6):
            await asyncio.sleep(0)
        assert held >= 3 * STEP
        second = asyncio.ensure_future(decompression.expand(data, b"gzip", lambda size: None))
        await asyncio.sleep(0)
        if end == "cancelled":
            first.cancel()
        [result] = await asyncio.gather(first, return_exceptions=True)
        assert isinstance(result, (Overloaded, asyncio.CancelledError, Malformed))
        return await second

    assert len(asyncio.run(two())) == EXPANDED


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
