"""Tables in Parquet files. This module needs pyarrow, so import it only when such a file is opened."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sentiment_conv1d.commands.installation import install_hint
from sentiment_conv1d.tables.faults import DataError

try:
    import pyarrow
    from pyarrow import compute, types
    from pyarrow.parquet import ParquetFile
except ImportError as error:
    raise DataError(f"reading or writing Parquet needs pyarrow, {install_hint('parquet')}") from error

from sentiment_conv1d.tables.table import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    Chunk,
    Row,
    Table,
    class_names,
    require_distinct,
)

#: The errors that pyarrow raises for values that do not fit. Some are not subclasses of ArrowException.
UNFIT = (pyarrow.ArrowException, OverflowError, TypeError, ValueError)


class BatchChunk(Chunk):
    """Rows of a Parquet file. They are converted to Python values only on access."""

    unit = "row"

    def __init__(self, source: Path | str, first: int, batch: Any) -> None:
        super().__init__(source, range(first, first + batch.num_rows), batch.num_rows)
        self.batch = batch  # pyarrow.RecordBatch

    @cached_property
    def rows(self) -> Sequence[Row]:
        names = self.batch.schema.names
        columns = zip(*map(self.values, names), strict=True)
        return [
            Row(number, dict(zip(names, values, strict=True)))
            for number, values in zip(self.numbers, columns, strict=True)
        ]

    def values(self, column: str) -> list[Any]:
        array = self.batch.column(column)
        try:
            return _plain(array)
        except UnicodeDecodeError:
            for number, value in zip(self.numbers, array, strict=True):
                _check_utf8(self.location(number), value)
            raise DataError(f"{self.span}: the column {column!r} holds text that is not UTF-8") from None
        except UNFIT as error:
            raise DataError(f"{self.span}: the column {column!r} cannot be converted ({error})") from error

    def strings(self, column: str) -> list[str | None]:
        kind = self.batch.schema.field(column).type
        decoded = kind.value_type if types.is_dictionary(kind) else kind
        tests = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
        if not any(test(decoded) for test in tests):
            raise DataError(f"{self.source}: the column {column!r} is of type {kind}, not a string")
        return self.values(column)


class ParquetTable(Table):
    """A Parquet file, read a chunk at a time. Neither the file nor a row group is in memory as a whole."""

    unit = "rows"

    def __init__(self, source: Path) -> None:
        self.source = source
        self.location = str(source)
        # Without a buffer size, the reader loads a whole column of a row group at once.
        settings = {"buffer_size": CHUNK_BYTES, "pre_buffer": False, "page_checksum_verification": True}
        try:
            self._file = ParquetFile(source, **settings)
            self.schema = self._file.schema_arrow
        except PermissionError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{source}: not a Parquet file, or a damaged one ({error})") from error
        self.total: int = self._file.metadata.num_rows
        self.columns: tuple[str, ...] = tuple(self.schema.names)
        try:
            require_distinct(self.location, self.columns)
        except BaseException:
            self._file.close()
            raise

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        first = 1
        try:
            for batch in self._batches(columns):
                if batch.num_rows:
                    yield BatchChunk(self.source, first, batch)
                    first += batch.num_rows
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{self.source}: damaged from row {first} on ({error})") from error

    def label_names(self, column: str) -> tuple[str, ...] | None:
        """Return the names of a `ClassLabel` of Hugging Face's `datasets`; None if the column is not one.

        The library writes them to the schema's metadata, as JSON under the key `huggingface`.
        """
        try:
            document = json.loads((self.schema.metadata or {}).get(b"huggingface", b""))
            return class_names(document["info"]["features"], column)
        except (ValueError, LookupError, TypeError):
            return None

    def _batches(self, columns: Sequence[str] | None) -> Iterator[Any]:
        """Yield record batches of about the size of a chunk, given the mean size of a row in each row group."""
        chosen = None if columns is None else list(columns)
        for number in range(self._file.num_row_groups):
            group = self._file.metadata.row_group(number)
            fitting = CHUNK_BYTES * group.num_rows // max(group.total_byte_size, 1)
            size = min(max(fitting, 1), CHUNK_ROWS)
            yield from self._file.iter_batches(size, row_groups=[number], columns=chosen)


def _check_utf8(location: str, value: Any) -> None:
    try:
        value.as_py()
    except UnicodeDecodeError as error:
        raise DataError(f"{location}: not UTF-8 ({error.reason})") from None


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def _plain(array: Any) -> list[Any]:
    """Convert a `pyarrow.Array` to values that JSON and CSV can represent, see the table in `scoring`.

    They are None, str, bool, int, float, NumPy's shorter floats, and lists and dicts of those.

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
    rows = zip(*map(_plain, array.flatten()), strict=True)
    return [
        dict(zip(names, values, strict=True)) if valid else None
        for valid, values in zip(array.is_valid().to_pylist(), rows, strict=True)
    ]


def _lists(array: Any) -> list[Any]:
    values = iter(_plain(array.flatten()))
    return _each(lambda length: list(islice(values, length)), compute.list_value_length(array).to_pylist())


def _maps(array: Any) -> list[Any]:
    pairs = [list(pair) for pair in zip(_plain(array.keys), _plain(array.items), strict=True)]
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
    ((types.is_dictionary,), lambda array: _plain(array.dictionary_decode())),
    ((lambda kind: kind.equals(pyarrow.uuid()),), lambda array: _each(str, array.to_pylist())),
    ((lambda kind: isinstance(kind, pyarrow.BaseExtensionType),), lambda array: _plain(array.storage)),
)
