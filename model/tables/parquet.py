"""Tables in Parquet files. This module needs pyarrow, so import it only when such a file is opened."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from sentiment_conv1d.model.commands.installation import install_hint
from sentiment_conv1d.model.tables.faults import DataError

try:
    import pyarrow
    from pyarrow import types
    from pyarrow.parquet import ParquetFile
except ImportError as error:
    raise DataError(f"reading or writing Parquet needs pyarrow, {install_hint('parquet')}") from error

from sentiment_conv1d.model.tables.class_label import class_names
from sentiment_conv1d.model.tables.plain import plain
from sentiment_conv1d.model.tables.table import CHUNK_BYTES, CHUNK_ROWS, Chunk, Row, Table, require_distinct

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
            return plain(array)
        except UnicodeDecodeError:
            for number, value in zip(self.numbers, array, strict=True):
                _check_utf8(self.place(number), value)
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

    def __init__(self, source: Path | str, file: Any = None) -> None:
        """Read the file at the path `source`, or the open binary `file`, which messages then call `source`."""
        self.source = source
        self.place = str(source)
        # Without a buffer size, the reader loads a whole column of a row group at once.
        settings = {"buffer_size": CHUNK_BYTES, "pre_buffer": False, "page_checksum_verification": True}
        try:
            self._file = ParquetFile(source if file is None else file, **settings)
            self.schema = self._file.schema_arrow
        except PermissionError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{source}: not a Parquet file, or a damaged one ({error})") from error
        self.total: int = self._file.metadata.num_rows
        self.columns: tuple[str, ...] = tuple(self.schema.names)
        try:
            require_distinct(self.place, self.columns)
        except BaseException:
            self._file.close()
            raise

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        yield from self.chunks_from(0, columns)

    def group_of(self, row: int) -> tuple[int, int]:
        """Return the row group that contains a row, and the first row of the group. Rows count from 0."""
        first = 0
        for number in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(number).num_rows
            if row < first + rows:
                return number, first
            first += rows
        return self._file.num_row_groups, first

    def chunks_from(self, row: int, columns: Sequence[str] | None = None) -> Iterator[BatchChunk]:
        """Like `chunks`, from the start of the row group that contains `row`, which counts from 0."""
        group, first = self.group_of(row)
        first += 1
        try:
            for batch in self._batches(group, columns):
                if batch.num_rows:
                    yield BatchChunk(self.source, first, batch)
                    first += batch.num_rows
        except _Damaged as damage:
            raise DataError(f"{self.source}: damaged from row {first} on ({damage})") from damage

    def label_names(self, column: str) -> tuple[str, ...] | None:
        """Return the names of a `ClassLabel` of Hugging Face's `datasets`; None if the column is not one.

        The library writes them to the schema's metadata, as JSON under the key `huggingface`.
        """
        try:
            document = json.loads((self.schema.metadata or {}).get(b"huggingface", b""))
            return class_names(document["info"]["features"], column)
        except (ValueError, LookupError, TypeError):
            return None

    def _batches(self, first: int, columns: Sequence[str] | None) -> Iterator[Any]:
        """Yield record batches of about the size of a chunk, given the mean size of a row in each row group."""
        chosen = None if columns is None else list(columns)
        try:
            for number in range(first, self._file.num_row_groups):
                group = self._file.metadata.row_group(number)
                fitting = CHUNK_BYTES * group.num_rows // max(group.total_byte_size, 1)
                size = min(max(fitting, 1), CHUNK_ROWS)
                yield from self._file.iter_batches(size, row_groups=[number], columns=chosen)
        except (pyarrow.ArrowException, OSError) as error:
            raise _Damaged(error) from error


class _Damaged(Exception):
    """A part of a Parquet file that cannot be read."""


def _check_utf8(place: str, value: Any) -> None:
    try:
        value.as_py()
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8 ({error.reason})") from None
