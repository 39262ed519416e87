"""Rows of a table, before and after they were checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from sentiment_conv1d.model.data.examples import DataError


class Columns(NamedTuple):
    """The two columns that are read."""

    text: str
    label: str


class RawRow(NamedTuple):
    """A row as the file has it."""

    place: str  # what an error message starts with: the file and the row's number in it
    text: object
    label: object


class Row(NamedTuple):
    """A row that can be learned from."""

    place: str
    text: str  # not blank, and UTF-8 can hold it
    label: str | int  # a bool is an int, too


def require_columns(columns: Columns, present: Sequence[str], place: str) -> None:
    """Raise `DataError` unless each of the two columns is present exactly once."""
    for column in columns:
        if column not in present:
            raise DataError(f"{place}: there is no column {column!r}; the columns are: {', '.join(map(repr, present))}")
        if present.count(column) > 1:
            raise DataError(f"{place}: there are {present.count(column)} columns {column!r}")


def check_rows(rows: Iterable[RawRow], columns: Columns, file: Path) -> list[Row]:
    """The rows, all of them usable. Raises `DataError`, which names the first row that is not."""
    raw = list(rows)
    if not raw:
        raise DataError(f"{file}: there are no labelled texts in it")
    _refuse_blanks([row.place for row in raw], [row.text for row in raw], columns.text, file)
    _refuse_blanks([row.place for row in raw], [row.label for row in raw], columns.label, file)
    return [Row(place, _text(text, columns, place), _label(label, columns, place)) for place, text, label in raw]


def _refuse_blanks(places: list[str], values: list[object], column: str, file: Path) -> None:
    blanks = [
        place
        for place, value in zip(places, values, strict=True)
        if value is None or (isinstance(value, str) and not value.strip())
    ]
    if len(blanks) == len(values):
        raise DataError(f"{file}: column {column!r} is empty")
    if blanks:
        raise DataError(f"{blanks[0]}: column {column!r} is empty in this row")


def _text(value: object, columns: Columns, place: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{place}: column {columns.text!r} holds {_shown(value)}, which is not a string")
    return _encodable(value, columns.text, place)


def _label(value: object, columns: Columns, place: str) -> str | int:
    if isinstance(value, str):
        return _encodable(value, columns.label, place)
    if isinstance(value, int):
        return value
    raise DataError(
        f"{place}: column {columns.label!r} holds {_shown(value)}, which is neither a string, an integer nor a boolean"
    )


def _encodable(value: str, column: str, place: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError(f"{place}: column {column!r} holds a lone surrogate, which is no character") from None
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
