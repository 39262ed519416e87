"""Tables in JSON files, as an array of objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import orjson

from sentiment_conv1d.model.tables.faults import DataError
from sentiment_conv1d.model.tables.files import READ_ERRORS
from sentiment_conv1d.model.tables.table import CHUNK_ROWS, Chunk, Row, Table
from sentiment_conv1d.model.tables.text import JsonlTable, LineChunk


class JsonTable(Table):
    """The objects of an array, counted from 1. The whole file is in memory, because JSON cannot be read in parts."""

    unit = "rows"

    def __init__(self, source: Path | str, file: BufferedReader, encoding: str = "UTF-8") -> None:
        self.source, self.place = source, str(source)
        self._file = file
        try:
            rows = orjson.loads(file.read().removeprefix(b"\xef\xbb\xbf"))
        except orjson.JSONDecodeError as error:
            raise DataError(f"{source}: not valid JSON in {encoding} ({error.msg} in line {error.lineno})") from error
        except READ_ERRORS as error:
            raise DataError(f"{source}: cannot be read ({error})") from error
        self.values: list[Any] = rows
        self.total = len(rows)
        self._first = 1

    def number_from(self, row: int) -> None:
        """Count the first object as `row`."""
        self._first = row

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        for start in range(0, len(self.values), CHUNK_ROWS):
            values = self.values[start : start + CHUNK_ROWS]
            rows = [Row(number, each) for number, each in enumerate(values, self._first + start)]
            usable = [row for row in rows if self._is_object(row)]
            if usable:
                yield LineChunk(self.source, usable, len(rows), self.row_unit)

    def _is_object(self, row: Row) -> bool:
        if not isinstance(row.values, dict):
            self.report(row.number, "not a JSON object")
            return False
        return True


def is_array(file: BufferedReader) -> bool:
    """Return whether a UTF-8 file, read from its beginning, contains an array."""
    return file.peek(1 << 12).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def open_json(source: Path, file: BufferedReader, total: int | None, encoding: str) -> Table:
    """Open a `.json` file: an array of objects, or one object per line, as Hugging Face writes it."""
    if is_array(file):
        try:
            return JsonTable(source, file, encoding)
        except BaseException:
            file.close()
            raise
    return JsonlTable(source, file, total, encoding)
