"""Messages cut out of what arrives."""

from __future__ import annotations

import gzip
import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import MessageTooLarge, RequestError, UnsupportedEncoding
from service.grpc.transport.messages import Messages, check_encoding, wrap

LIMIT = 100

CODERS = {b"identity": lambda content: content, b"gzip": gzip.compress, b"deflate": zlib.compress}


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(
    st.lists(st.binary(max_size=LIMIT), max_size=5),
    st.lists(st.integers(0, 1000)),
    st.sampled_from(sorted(CODERS)),
)
def test_messages_come_out_as_they_went_in(contents: list[bytes], places: list[int], encoding: bytes) -> None:
    """However the bytes are cut, and however the messages are compressed."""
    flag = int(encoding != b"identity")
    coded = [CODERS[encoding](content) for content in contents]
    data = b"".join(bytes((flag,)) + len(each).to_bytes(4) + each for each in coded)
    messages = Messages(LIMIT + 30, encoding)
    assert [each for piece in cut(data, places) for each in messages.feed(piece)] == contents
    assert messages.incomplete == 0


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)), st.sampled_from(sorted(CODERS)))
def test_any_bytes(data: bytes, places: list[int], encoding: bytes) -> None:
    """Whatever arrives, there are messages within the limit or a refusal, and no more is kept than has arrived."""
    messages = Messages(LIMIT, encoding)
    try:
        for piece in cut(data, places):
            assert all(len(each) <= LIMIT for each in messages.feed(piece))
            assert messages.incomplete <= len(data)
    except RequestError:
        pass


def test_limit() -> None:
    """A message of the limit is taken; of one that is larger, the announcement is enough."""
    assert Messages(LIMIT, b"identity").feed(wrap(bytes(LIMIT))) == [bytes(LIMIT)]
    with pytest.raises(MessageTooLarge, match="a message of 101 bytes is larger than max_body_bytes, 100"):
        Messages(LIMIT, b"identity").feed(wrap(bytes(LIMIT + 1))[:5])


def test_limit_of_what_is_expanded() -> None:
    """The limit is of what a message is, not of what is sent."""
    for size, fits in ((LIMIT, True), (LIMIT + 1, False)):
        packed = gzip.compress(bytes(size))
        data = b"\1" + len(packed).to_bytes(4) + packed
        if fits:
            assert Messages(LIMIT, b"gzip").feed(data) == [bytes(LIMIT)]
        else:
            with pytest.raises(MessageTooLarge, match="when it is expanded"):
                Messages(LIMIT, b"gzip").feed(data)


def test_encodings() -> None:
    """What is understood is named where something else is asked for."""
    for encoding in CODERS:
        check_encoding(encoding)
    with pytest.raises(UnsupportedEncoding, match="identity, gzip, deflate"):
        check_encoding(b"br")
