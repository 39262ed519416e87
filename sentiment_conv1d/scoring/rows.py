"""Separates the rows that can be scored from bad rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any, NamedTuple

from sentiment_conv1d.tables import Chunk, Fault, Row
from sentiment_conv1d.tables.table import no_column
from sentiment_conv1d.tables.text import LineChunk

#: Stands for a string that is not UTF-8, which only a Parquet file can contain.
NOT_UTF8: Any = object()


class Absent(NamedTuple):
    """Stands for a value that a row does not have, with the columns that it has."""

    columns: tuple[str, ...]


class Selection(NamedTuple):
    """The rows of a chunk that can be scored, their texts, and the other rows."""

    chunk: Chunk
    texts: list[str]
    bad: list[Fault]


def select(chunk: Chunk, column: str, max_characters: int) -> Selection:
    """Separate the rows whose `column` is a text: a string of at most `max_characters` that is not blank.

    Raises `DataError` if the column of a Parquet file does not have strings.
    """
    values = _values(chunk, column)
    reasons = [reason_of(value, column, max_characters) for value in values]
    if not any(reasons):
        return Selection(chunk, values, [])
    good = [reason is None for reason in reasons]
    bad = [
        Fault(str(chunk.source), chunk.unit, number, reason)
        for number, reason in zip(chunk.numbers, reasons, strict=True)
        if reason is not None
    ]
    return Selection(_keep_rows(chunk, good), list(compress(values, good)), bad)


def reason_of(value: Any, column: str, max_characters: int) -> str | None:
    """Return why a value is not a text, or None if it is one."""
    if isinstance(value, str):
        if len(value) > max_characters:
            return f"the column {column!r} has {len(value)} characters; the limit is {max_characters}"
        return None if value and not value.isspace() else f"the column {column!r} has no text"
    if value is None:
        return f"the column {column!r} is null, not a string"
    if isinstance(value, Absent):
        return no_column(column, value.columns, "--text-column")
    if value is NOT_UTF8:
        return f"the column {column!r} is not UTF-8"
    return f"the column {column!r} is of type {type(value).__name__}, not a string"


def keep_columns(chunk: Chunk, columns: Sequence[str]) -> Chunk:
    """Return some columns of a chunk. A row without one of them gets null."""
    rows = [Row(row.number, {column: row.values.get(column) for column in columns}) for row in chunk.rows]
    return LineChunk(chunk.source, rows, chunk.progress, chunk.unit)


def _values(chunk: Chunk, column: str) -> list[Any]:
    if isinstance(chunk, LineChunk):
        rows = [row.values for row in chunk.rows]
        return [values[column] if column in values else Absent(tuple(values)) for values in rows]
    from sentiment_conv1d.scoring.parquet import strings

    return strings(chunk, column)


def _keep_rows(chunk: Chunk, good: Sequence[bool]) -> Chunk:
    if isinstance(chunk, LineChunk):
        return LineChunk(chunk.source, list(compress(chunk.rows, good)), chunk.progress, chunk.unit)
    from sentiment_conv1d.scoring.parquet import keep_rows

    return keep_rows(chunk, good)
