"""Labelled rows of a table, checked before a model is trained on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

from sentiment_conv1d.model.data.faults import LABEL_STUDIO
from sentiment_conv1d.tables import Chunk, DataError, Fault, Format, Table, open_table
from sentiment_conv1d.tables.table import no_column


class Columns(NamedTuple):
    """The names of the columns with the text, the label, and the segment that a row belongs to."""

    text: str = "text"
    label: str = "label"
    segment: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns to read."""
        return tuple(dict.fromkeys(name for name in self if name is not None))


class Row(NamedTuple):
    """A row that a model can be trained on."""

    file: str
    unit: str  # what `number` counts: "line" or "row"
    number: int  # the row's number in its file, 0 if the file is one text
    text: str  # not blank
    label: str | int  # a bool is an int as well
    segment: Any = None  # the value of the column that divides the rows into segments

    def fault(self, reason: str) -> Fault:
        """Return the fault that the row has for this reason."""
        return Fault(self.file, self.unit, self.number, reason)

    @property
    def location(self) -> str:
        """The file and the row's number, for a message."""
        return self.fault("").location


#: Stands for the value of a column that a row lacks, in front of the names of its columns.
_MISSING = object()

_TEXT_FLAG, _LABEL_FLAG, _SEGMENT_FLAG = "--text-column", "--label-column", "--by"


def read_rows(
    path: Path,
    columns: Columns,
    faults: list[Fault],
    form: Format = Format(),  # noqa: B008
    *,
    wanted: Callable[[Any], bool] = lambda label: True,
    label_names: tuple[str, ...] | None = None,
) -> list[Row]:
    """Read the usable rows of a file whose label is wanted. Unusable rows with a wanted label are added to `faults`.

    Integer labels become names: those that Hugging Face's `datasets` wrote to the file, or `label_names`. Raises
    `DataError`, which names the file, if a column is missing or empty, or no row has a label.
    """
    rows: list[Row] = []
    own: list[Fault] = []
    with open_table(path, form, own) as table:
        table.require(columns.text, _TEXT_FLAG)
        table.require(columns.label, _LABEL_FLAG)
        if columns.segment is not None:
            table.require(columns.segment, _SEGMENT_FLAG)
        names = table.label_names(columns.label) or label_names
        for chunk in table.chunks(columns.names):
            for number, text, label, segment in _values(table, chunk, columns):
                if not wanted(label):
                    continue
                reason = _unusable(text, label, columns)
                if reason:
                    own.append(Fault(str(path), table.row_unit, number, reason))
                else:
                    rows.append(Row(str(path), table.row_unit, number, text, _named(label, names), segment))
    if not rows and not own:
        raise DataError(f"{path}: there are no labelled texts in it")
    for column in (columns.text, columns.label):
        if not rows and {fault.reason for fault in own} == {_empty(column)}:
            raise DataError(f"{path}: the column {column!r} is empty")
    faults += sorted(own, key=lambda fault: fault.number)
    return rows


def _values(table: Table, chunk: Chunk, columns: Columns) -> Iterator[tuple[int, Any, Any, Any]]:
    """Yield the number, text, label and segment of every row.

    A column may be missing if each row has its own columns. A missing segment is None.
    """
    segment = columns.segment
    if table.columns is None:
        for row in chunk.rows:
            text, label = _get(row.values, columns.text), _get(row.values, columns.label)
            yield row.number, text, label, None if segment is None else row.values.get(segment)
    else:
        segments = repeat(None, len(chunk)) if segment is None else chunk.values(segment)
        texts, labels = chunk.strings(columns.text), chunk.values(columns.label)
        yield from zip(chunk.numbers, texts, labels, segments, strict=True)


def _get(values: dict[str, Any], column: str) -> Any:
    return values.get(column, (_MISSING, *values))


def _unusable(text: Any, label: Any, columns: Columns) -> str:
    """Return why a row cannot be used; an empty string if it can."""
    for value, column, flag in ((text, columns.text, _TEXT_FLAG), (label, columns.label, _LABEL_FLAG)):
        if isinstance(value, tuple) and value[0] is _MISSING:
            if {"annotations", "data"} <= set(value):
                return LABEL_STUDIO
            return no_column(column, value[1:], flag)
        if value is None or (isinstance(value, str) and not value.strip()):
            return _empty(column)
    if not isinstance(text, str):
        return f"the column {columns.text!r} is of type {type(text).__name__}, not a string"
    if not isinstance(label, str | int):
        shown = repr(label)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return f"the column {columns.label!r} contains {shown}, not a string, integer or boolean"
    return ""


def _empty(column: str) -> str:
    return f"the column {column!r} is empty in this row"


def _named(label: str | int, names: tuple[str, ...] | None) -> str | int:
    if names is None or type(label) is not int or not 0 <= label < len(names):
        return label
    return names[label]
