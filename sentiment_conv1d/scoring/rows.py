"""Separates the rows that can be scored from bad rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, NamedTuple

from sentiment_conv1d.artifact.manifest import NO_ANSWER
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


def select(chunk: Chunk, column: str, max_characters: int, answers: Callable[[str], bool]) -> Selection:
    """Separate the rows whose `column` is a text: a string of at most `max_characters` that is not blank.

    `answers` returns whether the model has an answer to a text. Raises `DataError` if the column of a Parquet file does
    not have strings.
    """
    values = _values(chunk, column)
    reasons = [reason_of(value, column, max_characters, answers) for value in values]
    if not any(reasons):
        return Selection(chunk, values, [])
    good = [reason is None for reason in reasons]
    bad = [
        Fault(str(chunk.source), chunk.unit, number, reason)
        for number, reason in zip(chunk.numbers, reasons, strict=True)
        if reason is not None
    ]
    return Selection(_keep_rows(chunk, good), list(compress(values, good)), bad)


def reason_of(value: Any, column: str, max_characters: int, answers: Callable[[str], bool]) -> str | None:
    """Return why a value cannot be scored, or None if it can: it is a text that the model `answers`."""
    if isinstance(value, str):
        if len(value) > max_characters:
            return f"the column {column!r} has {len(value)} characters; the limit is {max_characters}"
        if not value or value.isspace():
            return f"the column {column!r} has no text"
        return None if answers(value) else f"the column {column!r} has a text without an answer: {NO_ANSWER}"
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
