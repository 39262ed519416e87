"""The protocol's tensors: datatypes, shapes and the binary form of their elements.

Binary tensors are little-endian and row-major. An element of BYTES is a 4-byte length followed by that many bytes
(Triton, docs/protocol/extension_binary_data.md).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.server.errors import Malformed
from sentiment_conv1d.service.errors import Invalid

_LENGTH = struct.Struct("<I")

#: The largest INT64, as in gRPC. Numbers in JSON have no limit.
_MAX_DIMENSION = 2**63 - 1

#: The most lists around an element.
_MAX_DEPTH = 9


def element_count(name: str, shape: Sequence[int]) -> int:
    """Return the number of elements of a shape, at least one. Raises `Invalid` for a dimension below 1.

    Because zeros are not allowed, no dimension is larger than the data, as it would be in the shape [2**62, 0].
    """
    if not all(0 < size <= _MAX_DIMENSION for size in shape):
        raise Invalid(f"input '{name}': a dimension is not from 1 to 2^63 - 1 in shape {list(shape)}")
    return prod(shape)


def pack_bytes(elements: Iterable[bytes]) -> bytes:
    """Return BYTES elements in binary form."""
    return b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))


def unpack_bytes(name: str, raw: bytes, count: int) -> list[bytes]:
    """Return exactly `count` BYTES elements from their binary form. Raises `Malformed`."""
    elements: list[bytes] = []
    position = 0
    while position < len(raw):
        if len(elements) == count:
            raise Malformed(f"input '{name}': more binary data than the {counted(count, 'element')} of its shape")
        if position + _LENGTH.size > len(raw):
            raise Malformed(f"input '{name}': the binary data ends inside the length of element {len(elements)}")
        (length,) = _LENGTH.unpack_from(raw, position)
        position += _LENGTH.size
        if position + length > len(raw):
            raise Malformed(f"input '{name}': the binary data ends inside element {len(elements)}")
        elements.append(raw[position : position + length])
        position += length
    if len(elements) != count:
        raise Malformed(
            f"input '{name}': {counted(len(elements), 'element')} in the binary data, {count:,} in its shape"
        )
    return elements


def unpack_int32(name: str, raw: bytes, count: int) -> npt.NDArray[np.int32]:
    """Return exactly `count` INT32 elements, int32 [count], from their binary form. Raises `Malformed`."""
    if len(raw) != 4 * count:
        raise Malformed(f"input '{name}': {counted(len(raw), 'byte')} of data, {4 * count:,} by its shape")
    return np.frombuffer(raw, "<i4").astype(np.int32, copy=False)


def decode_text(name: str, element: Any, number: int) -> str:
    """Return a BYTES element, which is a string in JSON. Raises `Malformed` if it is not UTF-8, and `Invalid`."""
    if isinstance(element, str):
        return element
    if not isinstance(element, bytes):
        raise Invalid(f"input '{name}': element {number} is not a string")
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise Malformed(f"input '{name}': element {number} is not UTF-8") from None


def flatten(name: str, data: Any, count: int) -> list[Any]:
    """Return JSON data, nested or flat, as a flat list of exactly `count` elements. Raises `Invalid`."""
    flat: list[Any] = []
    _flatten_into(flat, name, data, 0)
    if len(flat) != count:
        raise Invalid(f"input '{name}': {counted(len(flat), 'element')} in its data, {count:,} in its shape")
    return flat


def _flatten_into(flat: list[Any], name: str, data: Any, depth: int) -> None:
    """Append the elements of nested data. A deep element among many others must not cause copies of the others."""
    if not isinstance(data, list):
        raise Invalid(f"input '{name}': data must be a list")
    if depth == _MAX_DEPTH:
        raise Invalid(f"input '{name}': data is nested too deeply")
    if list not in set(map(type, data)):
        flat += data
        return
    for element in data:
        if isinstance(element, list):
            _flatten_into(flat, name, element, depth + 1)
        else:
            flat.append(element)
