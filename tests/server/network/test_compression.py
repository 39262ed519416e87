"""gzip and zlib streams, decompressed step by step."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.server.grpc.messages import Decompression
from sentiment_conv1d.server.http.compression import decompress as decompress_body
from sentiment_conv1d.server.network.buffers import Buffers, Charge
from sentiment_conv1d.server.network.compression import STEP_BYTES, WINDOW_BITS, NotOneStream, decompress

COMPRESS: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"deflate": zlib.compress}

encodings = st.sampled_from(sorted(COMPRESS))
contents = st.builds(lambda unit, count: unit * count, st.binary(max_size=300), st.integers(0, 200))


@given(contents, encodings, st.integers(1, 70_000))
def test_the_pieces_are_the_content_and_none_is_larger_than_a_step(content: bytes, encoding: bytes, step: int) -> None:
    """The pieces add up to the content, and none is larger than a step."""
    step = max(step, len(content) // 100)
    pieces = list(decompress(COMPRESS[encoding](content), WINDOW_BITS[encoding], step))
    assert b"".join(pieces) == content
    assert all(len(piece) <= step for piece in pieces)


@given(contents, encodings, st.data())
def test_a_stream_that_is_cut_is_not_whole(content: bytes, encoding: bytes, data: st.DataObject) -> None:
    """A truncated stream is refused."""
    compressed = COMPRESS[encoding](content)
    kept = data.draw(st.integers(0, len(compressed) - 1))
    with pytest.raises(NotOneStream):
        list(decompress(compressed[:kept], WINDOW_BITS[encoding], 65_536))


@given(contents, encodings, st.binary(min_size=1, max_size=10_000))
def test_bytes_after_the_end_are_refused(content: bytes, encoding: bytes, more: bytes) -> None:
    """A stream with bytes after its end is refused."""
    with pytest.raises(NotOneStream):
        list(decompress(COMPRESS[encoding](content) + more, WINDOW_BITS[encoding], 65_536))


def test_bodies_and_messages_expand_one_at_a_time() -> None:
    """A large body waits after its first step while a large message is decompressed, and a small body does not wait."""
    content, held = Random(1).randbytes(10_240) * 100, Buffers(1 << 30)

    async def body_during_a_message() -> None:
        lock = asyncio.Lock()
        order: list[tuple[str, int]] = []

        async def expand(name: str, work: Coroutine[Any, Any, bytes]) -> None:
            order.append((name, len(await work)))

        def body(size: int) -> Coroutine[Any, Any, bytes]:
            return decompress_body(gzip.compress(content[:size]), b"gzip", len(content), Charge(held), lock)

        message = Decompression(len(content), lock).expand(gzip.compress(content), b"gzip", lambda size: None)
        async with asyncio.TaskGroup() as group:
            for name, work in (("message", message), ("large", body(STEP_BYTES * 2)), ("small", body(STEP_BYTES // 2))):
                group.create_task(expand(name, work))
        assert order == [("small", STEP_BYTES // 2), ("message", len(content)), ("large", STEP_BYTES * 2)]

    asyncio.run(body_during_a_message())
