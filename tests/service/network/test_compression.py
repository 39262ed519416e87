"""gzip and zlib streams, decompressed step by step."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.service.network.compression import WINDOW_BITS, NotOneStream, decompress

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
