"""Reads rows of Arrow batches. It imports pyarrow, so other modules import it only for such batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import compress, pairwise
from typing import Any

# Before pyarrow: it says how to install it.
from sentiment_conv1d.model.tables.parquet import BatchChunk, ParquetTable  # isort: split

import pyarrow
import pyarrow.ipc

from sentiment_conv1d.model.tables import Chunk, DataError
from sentiment_conv1d.scoring.rows import NOT_UTF8


class RowReader:
    """Reads ranges of rows of a Parquet file. It reads each row once if the ranges are in ascending order."""

    def __init__(self, table: ParquetTable, columns: Sequence[str] | None) -> None:
        self._table = table
        self._columns = columns
        self._chunks: Iterator[BatchChunk] = iter(())
        self._rest: BatchChunk | None = None  # of the chunk that was read last
        self._next: int | None = None  # the first row that was not read; rows count from 0

    def read(self, start: int, stop: int) -> Iterator[Chunk]:
        """Yield the rows from `start` to `stop`. Raises `DataError` at a damaged row."""
        if self._next is None or self._next > start or self._table.group_of(start) > self._table.group_of(self._next):
            self._chunks = self._table.chunks_from(start, self._columns)
            self._rest = None
            self._next = self._table.group_of(start)[1]
        while self._next < stop and (chunk := self._rest or next(self._chunks, None)) is not None:
            skipped = min(max(start - self._next, 0), len(chunk))
            end = min(stop - self._next, len(chunk))
            self._rest = _slice(chunk, end, len(chunk)) if end < len(chunk) else None
            self._next += end
            if skipped < end:
                yield _slice(chunk, skipped, end)


def pack(chunks: Iterator[Chunk], most_bytes: int) -> bytes | None:
    """Return chunks in Arrow's stream format, or None if they have more bytes. Raises `DataError` at a damaged row."""
    sink = pyarrow.BufferOutputStream()
    with ExitStack() as stack:
        writer: Any = None
        for chunk in chunks:
            assert isinstance(chunk, BatchChunk)
            writer = writer or stack.enter_context(pyarrow.ipc.new_stream(sink, chunk.batch.schema))
            writer.write_batch(chunk.batch)
            if sink.tell() > most_bytes:
                return None
    content: bytes = sink.getvalue().to_pybytes()
    return content


def unpack(source: str, start: int, content: bytes) -> Iterator[Chunk]:
    """Yield the chunks that `pack` got. Their first row is `start`; rows count from 0."""
    for batch in pyarrow.ipc.open_stream(content):
        yield BatchChunk(source, start + 1, batch)
        start += batch.num_rows


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
    return kept


def _slice(chunk: BatchChunk, start: int, stop: int) -> BatchChunk:
    if stop - start == len(chunk):
        return chunk
    return BatchChunk(chunk.source, chunk.numbers[start], chunk.batch.slice(start, stop - start))


def _value(value: Any) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return NOT_UTF8
