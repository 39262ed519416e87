"""Parquet in and out. The one module that imports pyarrow, so it is imported only when a Parquet file is at hand."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sentiment_conv1d.service.scoring.errors import ScoringError

try:
    import pyarrow
    from pyarrow import compute, types
    from pyarrow.parquet import ParquetFile
    from pyarrow.parquet import ParquetWriter as ArrowWriter
except ImportError as error:
    raise ScoringError(
        "reading or writing Parquet needs pyarrow, install the `parquet` extra "
        "(`pip install --require-hashes -r requirements/parquet.txt`)"
    ) from error

from sentiment_conv1d.service.inference.prediction import Prediction
from sentiment_conv1d.service.scoring.chunks import CHUNK_BYTES, CHUNK_ROWS, Chunk, Row
from sentiment_conv1d.service.scoring.columns import (
    check_columns,
    check_distinct,
    prediction_columns,
    prediction_values,
)
from sentiment_conv1d.service.scoring.plain import plain
from sentiment_conv1d.service.scoring.readers import Reader
from sentiment_conv1d.service.scoring.writers import Writer, check_keys

# Row groups of one chunk each would make files slow to read, and their footer, which is held in memory, large.
_ROW_GROUP_BYTES = 8 * 2**20

# A reader gives up at 100 levels of the schema, of which a list takes two; a writer would not.
_DEEPEST = 48

# What pyarrow raises at values that do not fit; some of its errors are no ArrowException.
_UNFIT = (pyarrow.ArrowException, OverflowError, TypeError, ValueError)


class BatchChunk(Chunk):
    """Rows of a Parquet file; Python values are made of them only when asked for."""

    unit = "row"

    def __init__(self, source: Path, first: int, texts: Sequence[str], batch: Any) -> None:
        super().__init__(source, texts, len(texts))
        self.batch = batch  # pyarrow.RecordBatch
        self._first = first

    @cached_property
    def rows(self) -> Sequence[Row]:
        names = self.batch.schema.names
        columns = [self._values(name) for name in names]
        rows = enumerate(zip(self.texts, zip(*columns, strict=True), strict=True), start=self._first)
        return [Row(number, text, dict(zip(names, values, strict=True))) for number, (text, values) in rows]

    @property
    def span(self) -> str:
        return f"{self.source}: rows {self._first} to {self._first + len(self.texts) - 1}"

    def _values(self, name: str) -> list[Any]:
        try:
            return plain(self.batch.column(name))
        except _UNFIT as error:
            raise ScoringError(f"{self.span}: the column {name!r} cannot be converted ({error})") from error


class ParquetReader(Reader):
    """A few hundred rows at a time; neither the file nor a row group is ever held as a whole."""

    unit = "rows"

    def __init__(self, source: Path, text_column: str, added: Collection[str]) -> None:
        self._source = source
        self._text_column = text_column
        # Without a buffer size, the reader loads a column of a whole row group at once.
        settings = {"buffer_size": CHUNK_BYTES, "pre_buffer": False, "page_checksum_verification": True}
        try:
            self._file = ParquetFile(source, **settings)
            self.schema = self._file.schema_arrow
        except PermissionError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise ScoringError(f"{source}: not a Parquet file, or a damaged one ({error})") from error
        self.total = self._file.metadata.num_rows
        self.columns: tuple[str, ...] = tuple(self.schema.names)
        try:
            check_distinct(str(source), self.columns)
            check_columns(str(source), self.columns, text_column, added)
            _check_text_type(source, self.schema.field(text_column))
        except BaseException:
            self._file.close()
            raise

    def chunks(self) -> Iterator[Chunk]:
        first = 1
        try:
            for batch in self._batches():
                if batch.num_rows:
                    texts = self._texts(batch.column(self._text_column), first)
                    yield BatchChunk(self._source, first, texts, batch)
                    first += batch.num_rows
        except _Damaged as damage:
            raise ScoringError(f"{self._source}: damaged from row {first} on ({damage})") from damage

    def _batches(self) -> Iterator[Any]:
        """Record batches whose rows are about a chunk; each row group has its own size of rows."""
        try:
            for number in range(self._file.num_row_groups):
                group = self._file.metadata.row_group(number)
                fitting = CHUNK_BYTES * group.num_rows // max(group.total_byte_size, 1)
                size = min(max(fitting, 1), CHUNK_ROWS)
                yield from self._file.iter_batches(size, row_groups=[number])
        except (pyarrow.ArrowException, OSError) as error:
            raise _Damaged(error) from error

    def _texts(self, column: Any, first: int) -> list[str]:
        if column.null_count:
            row = first + compute.index(column.is_null(), True).as_py()
            raise ScoringError(f"{self._source}: row {row}: the column {self._text_column!r} is null, not a string")
        texts = []
        for row, text in enumerate(column, start=first):
            try:
                texts.append(text.as_py())
            except UnicodeDecodeError as error:
                raise ScoringError(f"{self._source}: row {row}: not UTF-8 ({error.reason})") from error
        return texts


class ParquetWriter(Writer):
    """Columns keep the Arrow types of a Parquet input; those of JSONL get the types of the first chunk."""

    def __init__(self, file: BinaryIO, reader: Reader, labels: Sequence[str]) -> None:
        self._file = file
        self._added = _prediction_fields(labels)
        self._schema = _known_schema(reader)  # of the input columns
        self._writer: Any = None
        self._batches: list[Any] = []
        self._bytes = 0
        self._span = "no rows"

    def write(self, chunk: Chunk, predictions: Sequence[Prediction]) -> None:
        self._span = chunk.span
        arrays = chunk.batch.columns if isinstance(chunk, BatchChunk) else self._arrays(chunk)
        batch = pyarrow.RecordBatch.from_arrays([*arrays, *self._predicted(predictions)], schema=self._full_schema())
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._bytes >= _ROW_GROUP_BYTES:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._writer.close()

    def abort(self) -> None:
        # Left open, it would try to write its footer when it is collected.
        with suppress(Exception):
            if self._writer is not None:
                self._writer.close()

    def _flush(self) -> None:
        schema = self._full_schema()
        try:
            if self._writer is None:
                self._writer = ArrowWriter(self._file, schema)
            if self._batches:
                self._writer.write_table(pyarrow.Table.from_batches(self._batches, schema))
        except pyarrow.ArrowException as error:
            raise ScoringError(f"{self._span}: cannot be written as Parquet ({error})") from error
        self._batches, self._bytes = [], 0

    def _full_schema(self) -> Any:
        schema = pyarrow.schema([]) if self._schema is None else self._schema
        for field in self._added:
            schema = schema.append(field)
        return schema

    def _predicted(self, predictions: Sequence[Prediction]) -> list[Any]:
        columns = zip(*map(prediction_values, predictions), strict=True)
        return [pyarrow.array(values, field.type) for values, field in zip(columns, self._added, strict=True)]

    def _arrays(self, chunk: Chunk) -> list[Any]:
        """The input columns of rows that did not come as Arrow arrays."""
        names = tuple(chunk.rows[0].values) if self._schema is None else self._schema.names
        check_keys(chunk, names)
        if self._schema is None:
            arrays = [_array(chunk, name, None) for name in names]
            self._schema = pyarrow.schema([(name, array.type) for name, array in zip(names, arrays, strict=True)])
            return arrays
        return [_array(chunk, field.name, field.type) for field in self._schema]


class _Damaged(Exception):
    """A part of a Parquet file that cannot be read."""


def _check_text_type(source: Path, field: Any) -> None:
    kind = field.type.value_type if types.is_dictionary(field.type) else field.type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)):
        raise ScoringError(f"{source}: the column {field.name!r} is of type {field.type}, not a string")


_KINDS = {str: pyarrow.string(), np.float32: pyarrow.float32(), int: pyarrow.int64(), bool: pyarrow.bool_()}


def _prediction_fields(labels: Sequence[str]) -> list[Any]:
    return [pyarrow.field(name, _KINDS[kind]) for name, kind in prediction_columns(labels).items()]


def _known_schema(reader: Reader) -> Any:
    """The schema of the input columns, None where only the first rows will tell."""
    if isinstance(reader, ParquetReader):
        return reader.schema
    if reader.columns is None:
        return None
    return pyarrow.schema([(column, pyarrow.string()) for column in reader.columns])


def _array(chunk: Chunk, name: str, expected: Any) -> Any:
    """A column of a chunk as an array of type `expected`, None: of whichever type its values have."""
    values = [row.values[name] for row in chunk.rows]
    try:
        array = pyarrow.array(values)
        if _depth(array.type) > _DEEPEST:
            raise ScoringError(f"{chunk.span}: the column {name!r} is nested deeper than Parquet files may be")
        if expected is None or array.type.equals(expected):
            return array
        # pyarrow would drop the fields of an object that the type does not have, and turn true into 1.
        if not _fits(array.type, expected):
            raise ScoringError(
                f"{chunk.span}: the column {name!r} is of type {array.type}, but of type {expected} in the rows before"
            )
        return pyarrow.array(values, expected)
    except _UNFIT as error:
        raise ScoringError(f"{chunk.span}: the column {name!r} has no one Parquet type ({error})") from error


def _depth(kind: Any) -> int:
    """How many lists and objects there are around the innermost value."""
    if types.is_struct(kind):
        return 1 + max((_depth(field.type) for field in kind), default=0)
    return 1 + _depth(kind.value_type) if types.is_list(kind) else 0


def _fits(found: Any, expected: Any) -> bool:
    """Whether no value of type `found` changes its meaning as one of type `expected`."""
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
