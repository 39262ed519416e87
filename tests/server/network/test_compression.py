"""gzip and zlib streams, decompressed step by step."""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.server.errors import Malformed, MessageTooLarge, Overloaded, TooLarge
from sentiment_conv1d.server.http.compression import decompress as decompress_body
from sentiment_conv1d.server.network import compression
from sentiment_conv1d.server.network.buffers import Buffers, Charge
from sentiment_conv1d.server.network.compression import (
    FREE_BYTES,
    MAX_RATIO,
    STEP_BYTES,
    WINDOW_BITS,
    decompress,
    expand,
)

COMPRESS: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"deflate": zlib.compress}

#: The largest decompressed size.
EXPANDED = 1_000_000

#: Content that compresses to about a hundredth, which is less than the largest ratio.
LARGE = Random(1).randbytes(EXPANDED // 100) * 100

encodings = st.sampled_from(sorted(COMPRESS))
contents = st.builds(lambda unit, count: unit * count, st.binary(max_size=300), st.integers(0, 200))


@given(contents, encodings, st.integers(1, 70_000))
def test_the_pieces_are_the_content_and_none_is_larger_than_a_step(content: bytes, encoding: bytes, step: int) -> None:
    """The pieces add up to the content, and none is larger than a step."""
    step = max(step, len(content) // 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "STEP_BYTES", step)
        pieces = list(decompress(COMPRESS[encoding](content), WINDOW_BITS[encoding]))
    assert b"".join(pieces) == content
    assert all(len(piece) <= step for piece in pieces)


@given(contents, encodings, st.data())
def test_a_stream_that_is_cut_is_not_whole(content: bytes, encoding: bytes, data: st.DataObject) -> None:
    """A truncated stream is refused."""
    compressed = COMPRESS[encoding](content)
    kept = data.draw(st.integers(0, len(compressed) - 1))
    with pytest.raises(zlib.error):
        list(decompress(compressed[:kept], WINDOW_BITS[encoding]))


@given(contents, encodings, st.binary(min_size=1, max_size=10_000))
def test_bytes_after_the_end_are_refused(content: bytes, encoding: bytes, more: bytes) -> None:
    """A stream with bytes after its end is refused."""
    with pytest.raises(zlib.error):
        list(decompress(COMPRESS[encoding](content) + more, WINDOW_BITS[encoding]))


def test_bodies_and_messages_expand_one_at_a_time() -> None:
    """A large body waits after its first step while a large message is decompressed, and a small body does not wait."""
    content, held = Random(1).randbytes(10_240) * 100, Buffers(1 << 30)

    async def body_during_a_message() -> None:
        lock = asyncio.Lock()
        order: list[tuple[str, int]] = []

        async def note(name: str, work: Coroutine[Any, Any, bytes]) -> None:
            order.append((name, len(await work)))

        def body(size: int) -> Coroutine[Any, Any, bytes]:
            return decompress_body(gzip.compress(content[:size]), b"gzip", len(content), Charge(held), lock)

        message = expand(gzip.compress(content), b"gzip", len(content), lock, lambda size: None)
        async with asyncio.TaskGroup() as group:
            for name, work in (("message", message), ("large", body(STEP_BYTES * 2)), ("small", body(STEP_BYTES // 2))):
                group.create_task(note(name, work))
        assert order == [("small", STEP_BYTES // 2), ("message", len(content)), ("large", STEP_BYTES * 2)]

    asyncio.run(body_during_a_message())


async def expand_counted(data: bytes, encoding: bytes) -> tuple[bytes, list[int]]:
    """Return the content of a stream, and the bytes that were counted at each step."""
    held: list[int] = []
    return await expand(data, encoding, EXPANDED, asyncio.Lock(), held.append), held


@given(
    content=st.binary(max_size=2000),
    times=st.integers(1, 300),
    encoding=st.sampled_from(sorted(COMPRESS)),
)
def test_expanded_messages(content: bytes, times: int, encoding: bytes) -> None:
    """The decompressed message is the original, and every byte is counted, one step at a time."""
    content *= times
    expanded, held = asyncio.run(expand_counted(COMPRESS[encoding](content), encoding))
    assert expanded == content
    assert sum(held) == len(content) and max(held) <= STEP_BYTES


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_content_that_cannot_be_compressed(encoding: bytes) -> None:
    """A message that compression made larger is decompressed."""
    content = os.urandom(EXPANDED)
    assert asyncio.run(expand_counted(COMPRESS[encoding](content), encoding))[0] == content


@given(content=st.binary(max_size=2000), encoding=st.sampled_from(sorted(COMPRESS)), data=st.data())
def test_broken_messages(content: bytes, encoding: bytes, data: st.DataObject) -> None:
    """A message that is incomplete or has bytes after its end is refused."""
    whole = COMPRESS[encoding](content)
    for broken in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + data.draw(st.binary(min_size=1))):
        with pytest.raises(Malformed, match=f"the content is not valid {encoding.decode()}: "):
            asyncio.run(expand_counted(broken, encoding))


@given(data=st.binary(max_size=300), encoding=st.sampled_from(sorted(COMPRESS)))
def test_arbitrary_bytes(data: bytes, encoding: bytes) -> None:
    """Bytes that are not a compressed message are refused."""
    with pytest.raises(Malformed):
        asyncio.run(expand_counted(data, encoding))


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_limit_of_the_decompressed_size(encoding: bytes) -> None:
    """The limit applies to the decompressed size, and bytes beyond it are neither counted nor stored."""
    for size in (0, 1, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, EXPANDED):
        assert len(asyncio.run(expand_counted(COMPRESS[encoding](LARGE[:size]), encoding))[0]) == size
    held: list[int] = []
    for size in (EXPANDED + 1, 100 * EXPANDED):
        held.clear()
        with pytest.raises(MessageTooLarge, match="content has more than 1000000 bytes, which is the limit"):
            data = COMPRESS[encoding]((LARGE * 101)[:size])
            asyncio.run(expand(data, encoding, EXPANDED, asyncio.Lock(), held.append, MessageTooLarge))
        assert sum(held) <= EXPANDED


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_limit_of_the_ratio(encoding: bytes) -> None:
    """A short message expands to at most 64 KiB and 200 times its size, and nothing beyond is counted."""
    message = COMPRESS[encoding](bytes(EXPANDED))
    held: list[int] = []
    with pytest.raises(TooLarge, match=f"{len(message)} compressed bytes expand to more than"):
        asyncio.run(expand(message, encoding, EXPANDED, asyncio.Lock(), held.append))
    assert sum(held) <= FREE_BYTES + MAX_RATIO * len(message) < EXPANDED


def test_others_get_their_turn() -> None:
    """A large message is decompressed one step per turn of the event loop."""

    async def steps() -> int:
        turns = 0
        expanding = asyncio.ensure_future(expand_counted(gzip.compress(LARGE), b"gzip"))
        while not expanding.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(steps()) >= EXPANDED // STEP_BYTES


def test_one_large_message_at_a_time() -> None:
    """A second large message waits after its first step, and small messages do not wait."""
    order: list[int] = []

    async def several() -> list[bytes]:
        lock = asyncio.Lock()
        contents = [LARGE, LARGE[1:], b"small", LARGE[2:]]

        def one(number: int) -> Coroutine[Any, Any, bytes]:
            data = gzip.compress(contents[number])
            return expand(data, b"gzip", EXPANDED, lock, lambda size: order.append(number))

        return await asyncio.gather(*map(one, range(len(contents))))

    assert [len(content) for content in asyncio.run(several())] == [EXPANDED, EXPANDED - 1, 5, EXPANDED - 2]
    end = len(order) - order[::-1].index(0)  # of the first message
    assert 2 in order[:end] and order[end:] == sorted(order[end:])
    assert order[:end].count(1) < order.count(1) / 4


@pytest.mark.parametrize("end", ["refused", "cancelled", "broken"])
def test_large_messages_that_are_given_up(end: str) -> None:
    """The next large message is decompressed after any kind of end of the previous one."""

    async def two() -> bytes:
        lock = asyncio.Lock()
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            if end == "refused" and held > EXPANDED // 2:
                raise Overloaded("full")

        data = gzip.compress(LARGE)
        first = asyncio.ensure_future(expand(data[:-4] if end == "broken" else data, b"gzip", EXPANDED, lock, hold))
        for _ in range(6):
            await asyncio.sleep(0)
        assert held >= 3 * STEP_BYTES
        second = asyncio.ensure_future(expand(data, b"gzip", EXPANDED, lock, lambda size: None))
        await asyncio.sleep(0)
        if end == "cancelled":
            first.cancel()
        [result] = await asyncio.gather(first, return_exceptions=True)
        assert isinstance(result, (Overloaded, asyncio.CancelledError, Malformed))
        return await second

    assert len(asyncio.run(two())) == EXPANDED
