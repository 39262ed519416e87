"""Labelled rows of a table, checked before a model is trained on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

from sentiment_conv1d.model.data.faults import LABEL_STUDIO
from sentiment_conv1d.tables import Chunk, DataError, Fault, Format, Table, open_table
from sentiment_conv1d.tables.table import no_column


class Columns(NamedTuple):
    """The names of the columns with the text, the label, and the segment that a row belongs to.

    If `several`, a text can have several labels, or none: those that its cell lists or, with `of_labels`, those whose
    columns contain 1.
    """

    text: str = "text"
    label: str = "label"
    segment: str | None = None
    several: bool = False
    of_labels: tuple[str, ...] = ()  # one for each label

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns with labels."""
        return self.of_labels or (self.label,)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns to read."""
        return tuple(dict.fromkeys(name for name in (self.text, *self.labels, self.segment) if name is not None))


class Row(NamedTuple):
    """A row that a model can be trained on."""

    file: str
    unit: str  # what `number` counts: "line" or "row"
    number: int  # the row's number in its file, 0 if the file is one text
    text: str  # not blank
    label: str | int  # a bool is an int as well
    segment: Any = None  # the value of the column that divides the rows into segments
    labels: tuple[str | int, ...] | None = None  # if a text can have several; `label` is empty then

    @property
    def each(self) -> Sequence[str | int]:
        """The labels of the text: one, or any number if it can have several."""
        return (self.label,) if self.labels is None else self.labels

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
_LABELS_FLAG = "--label-columns"

#: Separates the labels in a cell.
SEPARATOR = "|"

#: Whether a text has a label, by what the column of the label contains.
_MARKS = {0: False, 1: True, "0": False, "1": True, "false": False, "true": True}


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
        for column in columns.labels:
            table.require(column, _LABELS_FLAG if columns.of_labels else _LABEL_FLAG)
        if columns.segment is not None:
            table.require(columns.segment, _SEGMENT_FLAG)
        names = table.label_names(columns.label) or label_names
        for chunk in table.chunks(columns.names):
            for number, text, label, segment in _values(table, chunk, columns):
                if not wanted(label):
                    continue
                reason = _unusable(text, label, columns)
                several: tuple[str | int, ...] | None = None
                if columns.several and not reason:
                    several, reason = _several(label, columns)
                if reason:
                    own.append(Fault(str(path), table.row_unit, number, reason))
                elif several is None:
                    rows.append(Row(str(path), table.row_unit, number, text, _named(label, names), segment))
                else:
                    several = tuple(_named(each, names) for each in several)
                    rows.append(Row(str(path), table.row_unit, number, text, "", segment, several))
    if not rows and not own:
        raise DataError(f"{path}: there are no labelled texts in it")
    for column in (columns.text, *columns.labels):
        if not rows and {fault.reason for fault in own} == {_empty(column)}:
            raise DataError(f"{path}: the column {column!r} is empty")
    faults += sorted(own, key=lambda fault: fault.number)
    return rows


def _values(table: Table, chunk: Chunk, columns: Columns) -> Iterator[tuple[int, Any, Any, Any]]:
    """Yield the number, text, label and segment of every row. With a column for each label, the label is a tuple.

    A column may be missing if each row has its own columns. A missing segment is None.
    """
    segment = columns.segment
    if table.columns is None:
        for row in chunk.rows:
            text = _get(row.values, columns.text)
            found = tuple(_get(row.values, column) for column in columns.labels)
            label = found if columns.of_labels else found[0]
            yield row.number, text, label, None if segment is None else row.values.get(segment)
    else:
        segments = repeat(None, len(chunk)) if segment is None else chunk.values(segment)
        texts, values = chunk.strings(columns.text), [chunk.values(column) for column in columns.labels]
        labels: Iterable[Any] = zip(*values, strict=True) if columns.of_labels else values[0]
        yield from zip(chunk.numbers, texts, labels, segments, strict=True)


def _get(values: dict[str, Any], column: str) -> Any:
    return values.get(column, (_MISSING, *values))


def _unusable(text: Any, label: Any, columns: Columns) -> str:
    """Return why a row cannot be used; an empty string if it can."""
    cells = [(label, columns.label)]
    if columns.of_labels:
        cells = list(zip(label, columns.of_labels, strict=True))
    flag = _LABELS_FLAG if columns.of_labels else _LABEL_FLAG
    for value, column, flag in ((text, columns.text, _TEXT_FLAG), *((*cell, flag) for cell in cells)):
        if isinstance(value, tuple) and value[0] is _MISSING:
            if {"annotations", "data"} <= set(value):
                return LABEL_STUDIO
            return no_column(column, value[1:], flag)
        may_be_empty = columns.several and column != columns.text
        if not may_be_empty and (value is None or (isinstance(value, str) and not value.strip())):
            return _empty(column)
    if not isinstance(text, str):
        return f"the column {columns.text!r} is of type {type(text).__name__}, not a string"
    if not columns.several and not isinstance(label, str | int):
        hint = "; --several-labels reads lists of labels" if isinstance(label, list) else ""
        return f"the column {columns.label!r} contains {_shown(label)}, not a string, integer or boolean{hint}"
    return ""


def _several(label: Any, columns: Columns) -> tuple[tuple[str | int, ...], str]:
    """Return the labels of a row, and why they cannot be read; an empty string if they can."""
    if columns.of_labels:
        marks = [_mark(value) for value in label]
        for column, value, mark in zip(columns.of_labels, label, marks, strict=True):
            if mark is None:
                return (), f"the column {column!r} contains {_shown(value)}, not 0 or 1"
        return tuple(column for column, mark in zip(columns.of_labels, marks, strict=True) if mark), ""
    found = label
    if isinstance(label, str):
        try:
            found = json.loads(label) if label.lstrip().startswith("[") else label.split(SEPARATOR)
        except ValueError:
            return (), f"the column {columns.label!r} contains {_shown(label)}, which is not a JSON list"
    several = found if isinstance(found, list) else [] if found is None else [found]
    for each in several:
        if not isinstance(each, str | int):
            return (), f"the column {columns.label!r} contains {_shown(label)}, not a list of strings or integers"
        if SEPARATOR in str(each):
            return (), f"the label {each!r} contains {SEPARATOR!r}, which separates labels"
    stripped = (each.strip() if isinstance(each, str) else each for each in several)
    return tuple(dict.fromkeys(each for each in stripped if each != "")), ""


def _mark(value: Any) -> bool | None:
    """Return whether a text has a label, given the value in the column of the label; None if that says neither."""
    key = value.strip().lower() if isinstance(value, str) else value
    return _MARKS.get(key) if isinstance(key, str | int | float) else None


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _empty(column: str) -> str:
    return f"the column {column!r} is empty in this row"


def _named(label: str | int, names: tuple[str, ...] | None) -> str | int:
    if names is None or type(label) is not int or not 0 <= label < len(names):
        return label
    return names[label]
