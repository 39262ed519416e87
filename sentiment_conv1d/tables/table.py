"""A table that is open for reading, and its rows, one chunk at a time."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from sentiment_conv1d.tables.faults import DataError, Fault

#: A chunk ends at the first of these limits. Python objects take a few times the bytes of the file. Scoring groups the
#: texts of a chunk by length: 2,048 take 8 % less processor time than 256.
CHUNK_ROWS = 2048
CHUNK_BYTES = 2**22

#: The usual names of the columns that a flag names.
_USUAL_NAMES = {
    "--text-column": ("text", "review", "review_text", "sentence", "comment", "content", "body", "message", "tweet"),
    "--label-column": ("label", "sentiment", "class", "category", "target", "rating", "stars"),
}


class Row(NamedTuple):
    """One row."""

    number: int  # from 1; in text formats the number of its first line
    values: dict[str, Any]  # all columns
    json: bytes | None = None  # the object as it was written, if the file is JSON


class Chunk(ABC):
    """Consecutive rows, which are in memory together."""

    unit: str  # "line" or "row"

    def __init__(self, source: Path | str, numbers: Sequence[int], progress: int) -> None:
        self.source = source
        self.numbers = numbers  # of the rows
        self.progress = progress  # on the progress bar: bytes of text formats, rows of Parquet

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """The rows as Python values."""

    @abstractmethod
    def values(self, column: str) -> list[Any]:
        """Return a column as Python values. Raises `DataError` if a row does not have it."""

    def strings(self, column: str) -> list[str | None]:
        """Return a column of strings and nulls. Raises `DataError` for a value of another type."""
        values = self.values(column)
        for number, value in zip(self.numbers, values, strict=True):
            if value is not None and not isinstance(value, str):
                kind = type(value).__name__
                raise DataError(f"{self.location(number)}: the column {column!r} is of type {kind}, not a string")
        return values

    def location(self, number: int) -> str:
        """Return the location of a row, for a message."""
        return f"{self.source}: {self.unit} {number}"

    @property
    def span(self) -> str:
        """The location of all rows, for a message."""
        return f"{self.source}: {self.unit}s {self.numbers[0]} to {self.numbers[-1]}"


class Table(ABC):
    """An open file."""

    source: Path | str
    columns: tuple[str, ...] | None = None  # of every row; None if each row has its own
    location: str  # the location of the column names, for a message
    total: int | None  # of the progress bar, None if unknown
    unit: str  # of the progress bar
    row_unit = "row"  # of the numbers of rows: "line" or "row"
    faults: list[Fault] | None = None  # collects the rows that cannot be read; None: the first one is an error
    _file: Any

    @abstractmethod
    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        """Yield all rows once. With `columns`, the other columns may be left out.

        Rows that cannot be read are left out and added to `faults`. If that is None, the first one raises `DataError`.
        Raises `DataError` if the file cannot be read to its end.
        """

    @property
    def hint(self) -> str:
        """What can make the rows readable that were not, for a message; empty if nothing is known."""
        return ""

    def label_names(self, column: str) -> tuple[str, ...] | None:
        """Return the names of the integers in a column, if the file contains them."""
        return None

    def report(self, number: int, reason: str, detail: str = "") -> None:
        """Add a row to `faults`. Raises `DataError` if `faults` is None."""
        fault = Fault(str(self.source), self.row_unit, number, reason, detail)
        if self.faults is None:
            raise DataError(str(fault))
        self.faults.append(fault)

    def require(self, column: str, flag: str = "") -> None:
        """Raise `DataError` if no row can have this column, which a flag of the command line names."""
        if self.columns is not None:
            require_column(self.location, self.columns, column, flag)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def require_column(location: str, columns: Collection[str], column: str, flag: str = "") -> None:
    """Raise `DataError` if the column is missing."""
    if column not in columns:
        raise DataError(f"{location}: {no_column(column, tuple(columns), flag)}")


@lru_cache(maxsize=16)  # rows of JSON that lack the column mostly have the same ones
def no_column(column: str, columns: tuple[str, ...], flag: str = "") -> str:
    """Return the message that a column is missing. It suggests the flag with the likeliest column."""
    there_are = ", ".join(map(repr, columns)) or "none"
    hint = f"; if it has another name, use {flag} {_likeliest(column, columns, flag)}" if flag else ""
    return f"there is no column {column!r}; columns: {there_are}{hint}"


def _likeliest(column: str, columns: Collection[str], flag: str) -> str:
    """Return the column that the user probably means, as a word of a shell, or the word COLUMN."""
    names = {each.lower(): each for each in columns}
    usual = [each for each in _USUAL_NAMES.get(flag, ()) if each in names]
    alike = usual or get_close_matches(column.lower(), names, 1)
    return shlex.quote(names[alike[0]]) if alike else "COLUMN"


def require_distinct(location: str, columns: Sequence[str]) -> None:
    """Raise `DataError` if a column name repeats."""
    seen = set()
    for column in columns:
        if column in seen:
            raise DataError(f"{location}: two columns are named {column!r}")
        seen.add(column)


def class_names(features: Any, column: str) -> tuple[str, ...] | None:
    """Return the names of a column's `ClassLabel`, in the order of their integers; None if the column is not one.

    It is the type of labels in Hugging Face's `datasets`: integers with names.
    `features` describes the columns as `datasets.Features.to_dict` does. Raises `LookupError` or `TypeError` if its
    structure is another one.
    """
    feature = features[column]
    return tuple(map(str, feature["names"])) if feature["_type"] == "ClassLabel" else None
