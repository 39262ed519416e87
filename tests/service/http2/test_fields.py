"""Blocks of header fields, against `hpack`'s encoder and a decoder that remembers nothing."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from service.http2.fields import MAX_LIST_BYTES, Decoder, Head, encode
from service.http2.frames import ConnectionFault, Fault

from tests.service.http2 import wire

PSEUDO = [(name.encode(), value.encode()) for name, value in wire.POST]
NAMES = st.sampled_from([b"x-a", b"x-b", b"content-type", b"grpc-timeout", b"user-agent", b"te-st", b"authorization"])
VALUES = st.sampled_from([b"", b"a", b"b", b"a rather long value " * 5]) | st.binary(max_size=30).map(
    lambda value: value.translate(None, b"\0\r\n")
)


def expected(fields: list[tuple[bytes, bytes]]) -> Head:
    """The head of a request with these fields beside the usual ones."""
    joined: dict[bytes, bytes] = {}
    for name, value in fields:
        joined[name] = joined[name] + b"," + value if name in joined else value
    size = sum(len(name) + len(value) + 32 for name, value in [*PSEUDO, *fields])
    return Head(b"POST", b"/echo", joined, size, None)


@given(
    requests=st.lists(
        st.tuples(
            st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=5),
            st.booleans(),
            st.none() | st.integers(0, 4096),
            st.integers(1, 3),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_any_blocks(
    requests: list[tuple[list[tuple[bytes, bytes, bool]], bool, int | None, int, bool]],
) -> None:
    """Blocks mean what an encoder meant, the same ones again too: compressed or not, sensitive or not, read or skipped,
    whatever becomes of the table."""
    encoder, decoder = hpack.Encoder(), Decoder()
    for fields, huffman, size, times, skipped in requests:
        if size is not None:
            encoder.header_table_size = size
        for _ in range(times):
            block = encoder.encode([*PSEUDO, *fields], huffman=huffman)
            if skipped:
                decoder.skip(block)
            else:
                assert decoder.decode(block) == expected([(name, value) for name, value, _ in fields])


@given(blocks=st.lists(st.binary(max_size=12), max_size=12))
def test_any_bytes(blocks: list[bytes]) -> None:
    """Bytes that need not be a block mean what they mean to a decoder that has no memory of blocks."""
    decoder, bare = Decoder(), Decoder()
    for block in blocks * 2:
        try:
            bare.skip(b"")  # which makes it forget the blocks, not the table
            head = bare.decode(block)
        except ConnectionFault as fault:
            with pytest.raises(ConnectionFault) as caught:
                decoder.decode(block)
            assert caught.value.fault is fault.fault
            return
        assert decoder.decode(block) == head


@pytest.mark.parametrize("skipped", [False, True])
def test_same_bytes_with_another_table(skipped: bool) -> None:
    """The bytes of a known block mean something else once there are other fields in the table."""
    decoder = Decoder()
    head = wire.block(*wire.POST)
    static = b"\x83\x86\x84"  # POST, http, /
    first = decoder.decode(head + b"\x40\x03x-a\x01a")
    assert first is not None and first.fields == {b"x-a": b"a"}
    for _ in range(2):
        known = decoder.decode(static + b"\xbe")
        assert known is not None and known.fields == {b"x-a": b"a"}
    (decoder.skip if skipped else decoder.decode)(b"\x40\x03x-b\x01b")
    other = decoder.decode(static + b"\xbe")
    assert other is not None and other.fields == {b"x-b": b"b"}


def test_many_known_blocks() -> None:
    """Blocks of nothing but known fields are known by the dozen, and none is taken for another one."""
    decoder = Decoder()
    for number in range(60):
        decoder.skip(b"\x40\x04x-%02d\x01v" % number)
    for _ in range(2):
        for index in range(62, 122):
            head = decoder.decode(b"\x83\x86\x84" + bytes((0x80 | index,)) * 2)
            assert head is not None
            [(name, value)] = head.fields.items()
            assert name == b"x-%02d" % (121 - index) and value == b"v,v"


@pytest.mark.parametrize("size", [MAX_LIST_BYTES, MAX_LIST_BYTES + 1])
@pytest.mark.parametrize("bomb", [False, True])
def test_size_of_fields(size: int, bomb: bool) -> None:
    """Fields of more than 64 KiB are not read: not if they are sent, and not if a few bytes stand for them."""
    decoder = Decoder()
    head = wire.block(*wire.POST)
    rest = size - sum(len(name) + len(value) + 32 for name, value in PSEUDO)
    if bomb:
        decoder.skip(hpack.Encoder().encode([(b"x", b"y" * 4000)], huffman=False))
        count, rest = divmod(rest - 34, 4033)
        block = head + b"\xbe" * count + encode(b"z", b"z" * (rest + 34 - 33))
    else:
        block = head + encode(b"x", b"x" * (rest - 33))
    if size > MAX_LIST_BYTES:
        with pytest.raises(ConnectionFault) as caught:
            decoder.decode(block)
        assert caught.value.fault is Fault.ENHANCE_YOUR_CALM
    else:
        decoded = decoder.decode(block)
        assert decoded is not None and decoded.size == size


@given(fields=st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=300)), max_size=5))
def test_encode(fields: list[tuple[bytes, bytes]]) -> None:
    """A caller reads the fields that are meant, and has nothing new in its table."""
    decoder = hpack.Decoder()
    block = b"".join(encode(name, value) for name, value in fields)
    assert [(name, value) for name, value in decoder.decode(block, raw=True)] == fields
    assert len(decoder.header_table.dynamic_entries) == 0


@pytest.mark.parametrize("size", [126, 127, 128, 254, 255, 16_510, 16_511, 40_000])
def test_encode_long(size: int) -> None:
    """The length of a string may take several bytes."""
    assert list(hpack.Decoder().decode(encode(b"a", b"b" * size), raw=True)) == [(b"a", b"b" * size)]
