"""Tensors: binary data and nested data are decoded exactly or refused."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.server.errors import Malformed
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.protocols.oip.tensors import (
    decode_text,
    element_count,
    flatten,
    pack_bytes,
    unpack_bytes,
    unpack_int32,
)

ELEMENTS = st.lists(st.binary(max_size=40), max_size=20)
INT32 = st.integers(-(2**31), 2**31 - 1)


def nested(depth: int, innermost: Any) -> Any:
    """Return `innermost` nested in lists."""
    for _ in range(depth):
        innermost = [innermost]
    return innermost


@given(elements=ELEMENTS)
def test_bytes_round_trip(elements: list[bytes]) -> None:
    """Decoding reverses encoding."""
    assert unpack_bytes("x", pack_bytes(elements), len(elements)) == elements


def test_packed_form() -> None:
    """The binary form of an element is its length in four little-endian bytes, followed by its bytes."""
    assert pack_bytes([b"abc", b"", b"\xc3\xa9"]) == b"\x03\0\0\0abc\0\0\0\0\x02\0\0\0\xc3\xa9"


@given(elements=ELEMENTS.filter(len), data=st.data())
def test_truncated_bytes(elements: list[bytes], data: st.DataObject) -> None:
    """Truncated binary data is refused, wherever it ends."""
    raw = pack_bytes(elements)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(Malformed, match="input 'x'"):
        unpack_bytes("x", raw[:cut], len(elements))


@given(elements=ELEMENTS, rest=st.binary(min_size=1, max_size=20))
def test_trailing_bytes(elements: list[bytes], rest: bytes) -> None:
    """Bytes after the last element are refused."""
    with pytest.raises(Malformed, match=f"more binary data than the {counted(len(elements), 'element')}"):
        unpack_bytes("x", pack_bytes(elements) + rest, len(elements))


@given(elements=ELEMENTS, count=st.integers(0, 2**70))
def test_other_number_of_elements(elements: list[bytes], count: int) -> None:
    """A number of elements that does not match the shape is refused."""
    if count != len(elements):
        with pytest.raises(Malformed):
            unpack_bytes("x", pack_bytes(elements), count)


@pytest.mark.parametrize("length", [4, 255, 2**16, 2**31 - 1, 2**31, 0xFFFFFFFF])
def test_length_beyond_the_end(length: int) -> None:
    """A length beyond the end of the data is refused, however large."""
    with pytest.raises(Malformed, match="ends inside element 1"):
        unpack_bytes("x", pack_bytes([b"a"]) + struct.pack("<I", length) + b"abc", 2)


@given(raw=st.binary(max_size=40), count=st.integers(0, 4))
def test_random_bytes(raw: bytes, count: int) -> None:
    """Arbitrary bytes are refused, or decode to elements that encode to the same bytes."""
    try:
        elements = unpack_bytes("x", raw, count)
    except Malformed:
        return
    assert (len(elements), pack_bytes(elements)) == (count, raw)


@given(numbers=st.lists(INT32, max_size=50))
def test_int32_round_trip(numbers: list[int]) -> None:
    """INT32 elements are four little-endian bytes each."""
    array = unpack_int32("x", struct.pack(f"<{len(numbers)}i", *numbers), len(numbers))
    assert array.dtype == np.int32 and array.tolist() == numbers


@given(raw=st.binary(max_size=40), count=st.one_of(st.integers(0, 11), st.integers(0, 2**126)))
def test_int32_of_another_size(raw: bytes, count: int) -> None:
    """A number of bytes that is not four times the number of elements is refused."""
    if len(raw) != 4 * count:
        with pytest.raises(Malformed, match=f"{counted(len(raw), 'byte')} of data, {4 * count:,} by its shape"):
            unpack_int32("x", raw, count)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_text(text: str) -> None:
    """An element of text is UTF-8."""
    assert decode_text("x", text.encode(), 0) == text


@pytest.mark.parametrize("element", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"a\x80"])
def test_elements_that_are_not_utf8(element: bytes) -> None:
    """Elements that are not UTF-8 are refused with their index, including lone surrogates and overlong forms."""
    with pytest.raises(Malformed, match="input 'x': element 3 is not UTF-8"):
        decode_text("x", element, 3)


@given(shape=st.lists(st.integers(1, 2**63 - 1), max_size=6))
def test_element_count(shape: list[int]) -> None:
    """The size of a shape is the product of its dimensions, without a limit."""
    assert element_count("x", shape) == int(np.prod(np.array(shape, object), initial=1))


@pytest.mark.parametrize(
    "shape", [[-1], [-1, -1], [0], [0, 1], [2**62, 0], [2**70, 0], [2**63], [1, -(2**63)], [10**4000, 10**4000]]
)
def test_invalid_shapes(shape: list[int]) -> None:
    """A dimension that is negative, zero or beyond 64 bits is refused, for any product."""
    with pytest.raises(Invalid, match="input 'x': a dimension is not from 1"):
        element_count("x", shape)


LEAVES = st.integers() | st.text(max_size=3) | st.none() | st.booleans()
#: Data that is nested, but not too deeply.
NESTED = st.lists(LEAVES | st.lists(LEAVES | st.lists(LEAVES, max_size=3), max_size=3), max_size=4)


@given(data=NESTED)
def test_flatten(data: list[Any]) -> None:
    """Nested data is flattened in the order of its elements."""

    def leaves(value: Any) -> list[Any]:
        return [leaf for each in value for leaf in leaves(each)] if isinstance(value, list) else [value]

    assert flatten("x", data, len(leaves(data))) == leaves(data)


@pytest.mark.parametrize("data", [None, "abc", 3, 1.5, True, {}, {"0": "a"}])
def test_data_that_is_not_a_list(data: Any) -> None:
    """Data must be a list, even for a single element."""
    with pytest.raises(Invalid, match="data must be a list"):
        flatten("x", data, 1)


@pytest.mark.parametrize(("data", "count"), [([], 1), (["a"], 0), (["a"], 2), ([["a"], ["b"]], 1), ([[]], 2**64)])
def test_other_number_of_data(data: list[Any], count: int) -> None:
    """A number of elements that does not match the shape is refused."""
    with pytest.raises(Invalid, match=f"elements? in its data, {count:,} in its shape"):
        flatten("x", data, count)


@pytest.mark.parametrize("depth", [1, 2, 9])
def test_nesting(depth: int) -> None:
    """Nested lists and a flat list are equivalent."""
    assert flatten("x", nested(depth, "a"), 1) == ["a"]


@pytest.mark.parametrize("depth", [10, 50_000])
def test_deep_nesting(depth: int) -> None:
    """Deep nesting is refused before it reaches Python's recursion limit."""
    with pytest.raises(Invalid, match="nested too deeply"):
        flatten("x", nested(depth, "a"), 1)
