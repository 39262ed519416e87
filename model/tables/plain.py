"""Convert Arrow arrays to values that JSON and CSV can represent, see the table in `scoring`."""

from __future__ import annotations

import base64
from collections.abc import Callable
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pyarrow
from pyarrow import compute, types

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def plain(array: Any) -> list[Any]:
    """Convert a `pyarrow.Array` to None, str, bool, int, float, NumPy's shorter floats, and lists and dicts of those.

    Raises `ValueError` for a string that is not UTF-8 and a timestamp that cannot be written.
    """
    for kinds, convert in _CONVERSIONS:
        if any(is_of_kind(array.type) for is_of_kind in kinds):
            return convert(array)
    values: list[Any] = array.to_pylist()
    return values


def _each(convert: Callable[[Any], Any], values: list[Any]) -> list[Any]:
    return [None if value is None else convert(value) for value in values]


def _timestamps(array: Any) -> list[Any]:
    if array.type.tz is not None:
        array = array.cast(pyarrow.timestamp(array.type.unit, "UTC"))
    return _each(_iso, array.cast(pyarrow.string()).to_pylist())


def _iso(timestamp: str) -> str:
    if timestamp.startswith("<"):
        raise ValueError(f"timestamp {timestamp.strip('<>')}")
    return timestamp.replace(" ", "T")


def _as_text(array: Any) -> list[Any]:
    texts: list[Any] = array.cast(pyarrow.string()).to_pylist()
    return texts


def _seconds(array: Any) -> list[Any]:
    per_second = _PER_SECOND[array.type.unit]
    return _each(lambda ticks: ticks / per_second, array.cast(pyarrow.int64()).to_pylist())


def _base64(array: Any) -> list[Any]:
    return _each(lambda value: base64.b64encode(value).decode(), array.to_pylist())


def _objects(array: Any) -> list[Any]:
    names = [field.name for field in array.type]
    rows = zip(*map(plain, array.flatten()), strict=True)
    return [
        dict(zip(names, values, strict=True)) if valid else None
        for valid, values in zip(array.is_valid().to_pylist(), rows, strict=True)
    ]


def _lists(array: Any) -> list[Any]:
    values = iter(plain(array.flatten()))
    return _each(lambda length: list(islice(values, length)), compute.list_value_length(array).to_pylist())


def _maps(array: Any) -> list[Any]:
    pairs = [list(pair) for pair in zip(plain(array.keys), plain(array.items), strict=True)]
    bounds = pairwise(array.offsets.to_pylist())
    return [
        pairs[start:end] if valid else None
        for valid, (start, end) in zip(array.is_valid().to_pylist(), bounds, strict=True)
    ]


_CONVERSIONS: tuple[tuple[tuple[Callable[[Any], bool], ...], Callable[[Any], list[Any]]], ...] = (
    ((types.is_timestamp,), _timestamps),
    ((types.is_date, types.is_time, types.is_decimal), _as_text),
    ((types.is_duration,), _seconds),
    # Converted to a double, 0.1 would be written as 0.10000000149011612.
    ((types.is_float32,), lambda array: _each(np.float32, array.to_pylist())),
    ((types.is_float16,), lambda array: _each(np.float16, array.to_pylist())),
    ((types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary), _base64),
    ((types.is_struct,), _objects),
    ((types.is_list, types.is_large_list, types.is_fixed_size_list), _lists),
    ((types.is_map,), _maps),
    ((types.is_dictionary,), lambda array: plain(array.dictionary_decode())),
    ((lambda kind: kind.equals(pyarrow.uuid()),), lambda array: _each(str, array.to_pylist())),
    ((lambda kind: isinstance(kind, pyarrow.BaseExtensionType),), lambda array: plain(array.storage)),
)
