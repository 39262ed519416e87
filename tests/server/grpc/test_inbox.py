"""Splitting received bytes into messages."""

from __future__ import annotations

import gc
import gzip
import itertools
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.server.errors import Malformed, MessageTooLarge, RequestError
from sentiment_conv1d.server.grpc.inbox import Inbox
from sentiment_conv1d.server.grpc.messages import PREFIX, wrap

LIMIT = 100

COMPRESS: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"deflate": zlib.compress}


def inbox(encoding: bytes = b"identity", *, single: bool = False) -> Inbox:
    """Return an inbox that admits every message."""
    return Inbox(LIMIT, encoding, lambda length: None, single)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(
    st.lists(st.tuples(st.binary(max_size=LIMIT), st.booleans()), max_size=5),
    st.lists(st.integers(0, 1000)),
    st.sampled_from(sorted(COMPRESS)),
)
def test_messages(contents: list[tuple[bytes, bool]], places: list[int], encoding: bytes) -> None:
    """Messages are found at any division of the bytes, and compressed ones are marked."""
    data = b"".join(wrap(content, compressed=compressed) for content, compressed in contents)
    messages = inbox(encoding)
    assert sum(map(messages.add, cut(data, places))) == len(contents)
    found = [messages.pop() for _ in contents]
    assert [(each, isinstance(each, bytearray)) for each in found] == contents
    assert not any(map(gc.is_tracked, found))
    assert messages.first is None and not messages.incomplete and messages.queued == 0


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)), st.sampled_from([b"identity", *COMPRESS]))
def test_any_bytes(data: bytes, places: list[int], encoding: bytes) -> None:
    """Arbitrary bytes give messages within the limit or a refusal, and no more is stored than has arrived."""
    messages = inbox(encoding)
    arrived = 0
    try:
        for piece in cut(data, places):
            arrived += len(piece)
            for _ in range(messages.add(piece)):
                arrived -= PREFIX.size + len(message := messages.pop())
                assert len(message) <= LIMIT
            assert len(messages.incomplete) == arrived and messages.queued == 0
    except RequestError:
        pass


def test_limit() -> None:
    """A message of exactly the limit is accepted, and a larger one is refused after its prefix."""
    messages = inbox()
    messages.add(wrap(bytes(LIMIT)))
    assert messages.pop() == bytes(LIMIT)
    with pytest.raises(MessageTooLarge, match="a message has 101 bytes; the limit is 100"):
        inbox().add(wrap(bytes(LIMIT + 1))[: PREFIX.size])


@pytest.mark.parametrize(("flag", "encoding"), [(2, b"gzip"), (255, b"gzip"), (1, b"identity")])
def test_flags(flag: int, encoding: bytes) -> None:
    """The flag of a message is 0, or 1 if the call names a compression."""
    with pytest.raises(Malformed):
        inbox(encoding).add(bytes((flag, 0, 0, 0, 0)))


def test_single_message() -> None:
    """An inbox for a single message refuses a second one, and keeps the first."""
    messages = inbox(single=True)
    with pytest.raises(Malformed, match="there are more"):
        messages.add(wrap(b"first") + wrap(b"second"))
    assert messages.pop() == b"first" and messages.first is None
