"""Rows of Arrow batches, and a writer of Parquet. It imports pyarrow, so other modules import it only for these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import compress, pairwise
from typing import Any, BinaryIO

import numpy as np

# Before pyarrow: it says how to install it.
from sentiment_conv1d.tables.parquet import UNFIT, BatchChunk, ParquetTable  # isort: split

import pyarrow
from pyarrow import types
from pyarrow.parquet import ParquetWriter as ArrowWriter

from sentiment_conv1d.scoring.columns import LABELS, OPTIONAL_BOOL, OPTIONAL_INT, Column
from sentiment_conv1d.scoring.rows import NOT_UTF8
from sentiment_conv1d.scoring.writers import Writer, check_keys
from sentiment_conv1d.tables import Chunk, DataError, Table

# With a row group per chunk, files would be slow to read, and their footer, which is kept in memory, would be large.
_ROW_GROUP_BYTES = 8 * 2**20

# As fast as Parquet's usual snappy, with files of texts that are a third smaller.
_COMPRESSION = "zstd"

# Readers reject schemas of more than 100 levels, although writers write them. A list takes two levels.
_DEEPEST = 48


def strings(chunk: Chunk, column: str) -> list[Any]:
    """Return a column of strings: each is a str, None, or `NOT_UTF8`. Raises `DataError` if it has another type."""
    try:
        return chunk.strings(column)
    except DataError as error:
        if not isinstance(error.__context__, UnicodeDecodeError):
            raise
    assert isinstance(chunk, BatchChunk)
    return decoded(chunk.batch.column(column))


def decoded(array: Any) -> list[Any]:
    """Return the values of an Arrow array. A string that is not UTF-8 becomes `NOT_UTF8`."""
    return [_value(value) for value in array]


def keep_rows(chunk: Chunk, good: Sequence[bool]) -> Chunk:
    """Return the rows of a chunk for which `good` is true."""
    assert isinstance(chunk, BatchChunk)
    # `filter` does not take columns of every type, for example not strings of the type string_view.
    starts = [row for row in range(len(good)) if not row or good[row] != good[row - 1]]
    pieces = [chunk.batch.slice(start, stop - start) for start, stop in pairwise([*starts, len(good)]) if good[start]]
    kept = BatchChunk(chunk.source, 1, pyarrow.concat_batches([chunk.batch.slice(0, 0), *pieces]))
    kept.numbers = list(compress(chunk.numbers, good))
    kept.progress = chunk.progress
    return kept


def _value(value: Any) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return NOT_UTF8


class ParquetWriter(Writer):
    """Columns keep the Arrow types of a Parquet input. Columns of JSONL get the types of the first chunk."""

    def __init__(self, file: BinaryIO, schema: Any, added: Mapping[str, Any]) -> None:
        self._file = file
        self._added = fields_of(added)
        self._schema = schema  # of the input columns; None if the first rows decide it
        self._writer: Any = None
        self._batches: list[Any] = []
        self._bytes = 0
        self._span = "no rows"

    def write(self, chunk: Chunk, added: Sequence[Column]) -> None:
        self._span = chunk.span
        if isinstance(chunk, BatchChunk):
            arrays = [chunk.batch.column(name) for name in self._schema.names]
        else:
            arrays = self._arrays(chunk)
        arrays += [pyarrow.array(values, field.type) for values, field in zip(added, self._added, strict=True)]
        batch = pyarrow.RecordBatch.from_arrays(arrays, schema=self._full_schema())
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._bytes >= _ROW_GROUP_BYTES:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._writer.close()

    def abort(self) -> None:
        # An open writer would try to write its footer when it is garbage-collected.
        with suppress(Exception):
            if self._writer is not None:
                self._writer.close()

    def _flush(self) -> None:
        schema = self._full_schema()
        try:
            if self._writer is None:
                self._writer = ArrowWriter(self._file, schema, compression=_COMPRESSION)
            if self._batches:
                self._writer.write_table(pyarrow.Table.from_batches(self._batches, schema))
        except pyarrow.ArrowException as error:
            raise DataError(f"{self._span}: cannot be written as Parquet ({error})") from error
        self._batches, self._bytes = [], 0

    def _full_schema(self) -> Any:
        schema = pyarrow.schema([]) if self._schema is None else self._schema
        for field in self._added:
            schema = schema.append(field)
        return schema

    def _arrays(self, chunk: Chunk) -> list[Any]:
        """Return the input columns of rows that are not Arrow arrays."""
        if self._schema is None:
            self._schema = schema_of_rows(chunk)
        check_keys(chunk, self._schema.names)
        return [_array(chunk, field.name, field.type) for field in self._schema]


#: The words of an explanation.
_WORDS = pyarrow.list_(pyarrow.struct([("text", pyarrow.string()), ("share", pyarrow.float32())]))

_KINDS: dict[Any, Any] = {
    str: pyarrow.string(),
    np.float32: pyarrow.float32(),
    int: pyarrow.int64(),
    bool: pyarrow.bool_(),
    OPTIONAL_BOOL: pyarrow.bool_(),
    OPTIONAL_INT: pyarrow.int64(),
    LABELS: pyarrow.list_(pyarrow.string()),
    list: _WORDS,
}


def fields_of(added: Mapping[str, Any]) -> list[Any]:
    """Return the Arrow fields of the columns that scoring adds, from their names and types."""
    return [pyarrow.field(name, _KINDS[kind]) for name, kind in added.items()]


def schema_of(table: Table, columns: Sequence[str] | None = None) -> Any:
    """Return the schema of `columns`, by default of all columns, or None if it depends on the first rows."""
    if isinstance(table, ParquetTable):
        schema = table.schema
        return schema if columns is None else pyarrow.schema([schema.field(name) for name in columns], schema.metadata)
    names = table.columns if columns is None else columns
    if table.columns is None or names is None:
        return None
    return pyarrow.schema([(name, pyarrow.string()) for name in names])


def schema_of_rows(chunk: Chunk) -> Any:
    """Return the schema that fits the rows of a chunk. Raises `DataError` if there is none."""
    names = tuple(chunk.rows[0].values)
    check_keys(chunk, names)
    return pyarrow.schema([(name, _array(chunk, name, None).type) for name in names])


def _array(chunk: Chunk, name: str, expected: Any) -> Any:
    """Return a column of a chunk as an array of type `expected`, or of the type of its values if that is None."""
    values = [row.values[name] for row in chunk.rows]
    try:
        array = pyarrow.array(values)
        if _depth(array.type) > _DEEPEST:
            raise DataError(f"{chunk.span}: the column {name!r} is nested deeper than Parquet files may be")
        if expected is None or array.type.equals(expected):
            return array
        # pyarrow would drop fields of objects that the type does not have, and would turn true into 1.
        if not _fits(array.type, expected):
            raise DataError(
                f"{chunk.span}: the column {name!r} is of type {array.type}, but of type {expected} in the rows before"
            )
        return pyarrow.array(values, expected)
    except UNFIT as error:
        raise DataError(f"{chunk.span}: the column {name!r} has no one Parquet type ({error})") from error


def _depth(kind: Any) -> int:
    """Return the number of lists and objects around the innermost value."""
    if types.is_struct(kind):
        return 1 + max((_depth(field.type) for field in kind), default=0)
    return 1 + _depth(kind.value_type) if types.is_list(kind) else 0


def _fits(found: Any, expected: Any) -> bool:
    """Return whether every value of type `found` keeps its meaning as one of type `expected`."""
    if types.is_null(found) or found.equals(expected):
        return True
    if types.is_floating(expected):
        return bool(types.is_integer(found))
    if types.is_list(expected) and types.is_list(found):
        return _fits(found.value_type, expected.value_type)
    if types.is_struct(expected) and types.is_struct(found):
        fields = {field.name: field.type for field in expected}
        return all(field.name in fields and _fits(field.type, fields[field.name]) for field in found)
    return False
