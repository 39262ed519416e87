"""Writes rows with predictions to JSONL and CSV."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, BinaryIO

import orjson

from sentiment_conv1d.scoring.columns import Column
from sentiment_conv1d.tables import Chunk, DataError, Row


class Writer(ABC):
    """An output file being written."""

    @abstractmethod
    def write(self, chunk: Chunk, added: Sequence[Column]) -> None:
        """Write rows with their added columns. Raises `DataError` at a row that the format cannot hold."""

    def finish(self) -> None:  # noqa: B027 - JSONL needs none
        """Write the rest, so that the file is complete."""

    def abort(self) -> None:  # noqa: B027 - only Parquet needs one
        """Release the file, which is about to be deleted. Never raises."""


def check_keys(chunk: Chunk, columns: Sequence[str]) -> None:
    """Raise `DataError` at the first row whose keys are not `columns`, in any order."""
    expected = set(columns)
    for row in chunk.rows:
        if row.values.keys() != expected:
            missing = [repr(column) for column in columns if column not in row.values]
            new = [repr(key) for key in row.values if key not in expected]
            differences = [f"without {', '.join(missing)}"] * bool(missing) + [f"with {', '.join(new)}"] * bool(new)
            raise DataError(
                f"{chunk.location(row.number)}: other columns than the first row ({' and '.join(differences)}); "
                "only JSONL output takes rows that differ"
            )


class JsonlWriter(Writer):
    """Writes one object per row. It inserts the predictions before the last brace, so the row keeps its spelling."""

    def __init__(self, file: BinaryIO, added: Sequence[str]) -> None:
        self._file = file
        self._added = added

    def write(self, chunk: Chunk, added: Sequence[Column]) -> None:
        for row, *values in zip(chunk.rows, *added, strict=True):
            spelled = _to_json(chunk, row, row.values) if row.json is None else row.json
            fields = orjson.dumps(dict(zip(self._added, values, strict=True)), option=_JSON)
            self._file.write(spelled[:-1] + (b"," if row.values else b"") + fields[1:])


class CsvWriter(Writer):
    """Writes a header row, and quotes fields if necessary."""

    def __init__(self, file: BinaryIO, columns: Sequence[str] | None, added: Sequence[str]) -> None:
        self._records = csv.writer(_Records(file))
        self._columns = columns
        self._added = added
        self._headed = False

    def write(self, chunk: Chunk, added: Sequence[Column]) -> None:
        columns = self._columns = self._columns or tuple(chunk.rows[0].values)
        self._head()
        check_keys(chunk, columns)
        for row, *values in zip(chunk.rows, *added, strict=True):
            own = [row.values[column] for column in columns]
            self._records.writerow(_cell(chunk, row, value) for value in [*own, *values])

    def finish(self) -> None:
        self._head()

    def _head(self) -> None:
        if not self._headed:
            self._records.writerow([*(self._columns or ()), *self._added])
            self._headed = True


class _Records:
    """The file of a `csv.writer`, which calls `write` once per record.

    In some versions of Python, the writer quotes a lone "\\r" only if its own line end contains one. The lines of the
    file end with "\\n".
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, record: str) -> None:
        self._file.write(record.removesuffix("\r\n").encode() + b"\n")


def _cell(chunk: Chunk, row: Row, value: Any) -> str:
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list() | dict():
            return _to_json(chunk, row, value).decode()
        case _:
            return str(value)


def _to_json(chunk: Chunk, row: Row, value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise DataError(f"{chunk.location(row.number)}: cannot be written as JSON ({error})") from error


_JSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
