"""Labelled rows of a table, checked before anything is learned from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sentiment_conv1d.model.tables import DataError, open_table


class Columns(NamedTuple):
    """The two columns that are read."""

    text: str
    label: str


class Row(NamedTuple):
    """A row that can be learned from."""

    place: str  # what an error message starts with: the file and the row's number in it
    text: str  # not blank
    label: str | int  # a bool is an int, too


class _RawRow(NamedTuple):
    """A row as the file has it."""

    place: str
    text: str | None
    label: Any


def read_rows(path: Path, columns: Columns, wanted: Callable[[Any], bool] = lambda label: True) -> list[Row]:
    """The rows of a file with a wanted label, all of them usable. Raises `DataError`, which names what is not."""
    raw = [row for row in _read(path, columns) if wanted(row.label)]
    if not raw:
        raise DataError(f"{path}: there are no labelled texts in it")
    _refuse_blanks([row.place for row in raw], [row.text for row in raw], columns.text, path)
    _refuse_blanks([row.place for row in raw], [row.label for row in raw], columns.label, path)
    return [Row(place, text or "", _label(label, columns, place)) for place, text, label in raw]


def _read(path: Path, columns: Columns) -> Iterator[_RawRow]:
    with open_table(path) as table:
        for column in columns:
            table.require(column)
        for chunk in table.chunks(columns):
            places = map(chunk.place, chunk.numbers)
            yield from map(_RawRow, places, chunk.strings(columns.text), chunk.values(columns.label))


def _refuse_blanks(places: list[str], values: list[Any], column: str, file: Path) -> None:
    blanks = [
        place
        for place, value in zip(places, values, strict=True)
        if value is None or (isinstance(value, str) and not value.strip())
    ]
    if len(blanks) == len(values):
        raise DataError(f"{file}: the column {column!r} is empty")
    if blanks:
        raise DataError(f"{blanks[0]}: the column {column!r} is empty in this row")


def _label(value: Any, columns: Columns, place: str) -> str | int:
    if isinstance(value, str | int):
        return value
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    raise DataError(
        f"{place}: the column {columns.label!r} holds {shown}, which is neither a string, an integer nor a boolean"
    )
