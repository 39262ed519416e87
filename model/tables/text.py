"""Tables in text formats."""

from __future__ import annotations

import codecs
import csv
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from io import SEEK_END, BufferedReader, BytesIO
from pathlib import Path
from typing import Any, cast

import orjson

from sentiment_conv1d.model.tables.errors import DataError
from sentiment_conv1d.model.tables.lines import Lines
from sentiment_conv1d.model.tables.table import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    Chunk,
    Row,
    Table,
    require_column,
    require_distinct,
)

#: The largest that the csv module takes on every platform; its default is 128 KiB.
_FIELD_LIMIT = 2**31 - 1


class LineChunk(Chunk):
    """Rows of a text format."""

    unit = "line"

    def __init__(self, source: Path | str, rows: Sequence[Row], progress: int) -> None:
        super().__init__(source, [row.number for row in rows], progress)
        self._rows = rows

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    def values(self, column: str) -> list[Any]:
        for row in self._rows:
            require_column(self.place(row.number), row.values, column)
        return [row.values[column] for row in self._rows]


class _LineTable(Table):
    """What the text formats share."""

    unit = "B"

    def __init__(self, source: Path | str, file: BufferedReader) -> None:
        self._file = file
        try:
            self.total = file.seek(0, SEEK_END)
            file.seek(0)
            self._lines = Lines(source, file)
            self._read_header()
        except BaseException:
            file.close()
            raise

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        rows: list[Row] = []
        start = 0
        for row in self._rows():
            rows.append(row)
            progress = self._lines.bytes - start
            if len(rows) == CHUNK_ROWS or progress >= CHUNK_BYTES:
                yield LineChunk(self._lines.source, rows, progress)
                rows, start = [], self._lines.bytes
        if rows:
            yield LineChunk(self._lines.source, rows, self._lines.bytes - start)

    def number_from(self, line: int) -> None:
        """Count the next line of the file as `line`."""
        self._lines.number = line - 1

    def _read_header(self) -> None:
        self.place = str(self._lines.source)

    @abstractmethod
    def _rows(self) -> Iterator[Row]: ...


class TxtTable(_LineTable):
    """One text a line; an empty line is an empty text, so that rows and lines count alike."""

    columns = ("text",)

    def _rows(self) -> Iterator[Row]:
        for line in self._lines:
            text = line[:-1].removesuffix("\r") if line.endswith("\n") else line
            yield Row(self._lines.number, {"text": text})


class CsvTable(_LineTable):
    """Separated by commas or tabs, double quotes, quoted newlines allowed."""

    columns: tuple[str, ...]

    def __init__(self, source: Path | str, file: BufferedReader, delimiter: str) -> None:
        self._delimiter = delimiter
        super().__init__(source, file)

    def _read_header(self) -> None:
        # Strict, or the module would take `"a"b` for ab and the rest of the file for a field without its last quote.
        self._records = csv.reader(self._lines, delimiter=self._delimiter, strict=True)
        number, header = next(self._numbered(), (0, []))
        if not header:
            raise DataError(f"{self._lines.source}: there is no header row")
        self.place = self._lines.place(number)
        require_distinct(self.place, header)
        self.columns = tuple(header)

    def _rows(self) -> Iterator[Row]:
        for number, fields in self._numbered():
            if len(fields) != len(self.columns):
                place = self._lines.place(number)
                raise DataError(f"{place}: {len(fields)} fields, while the header has {len(self.columns)}")
            yield Row(number, dict(zip(self.columns, fields, strict=True)))

    def _numbered(self) -> Iterator[tuple[int, list[str]]]:
        """Records that are not blank, each with the number of its first line."""
        while True:
            number = self._lines.number + 1
            # The limit belongs to the whole process, so others find it as they left it.
            limit = csv.field_size_limit(_FIELD_LIMIT)
            try:
                fields = next(self._records, None)
            except csv.Error as error:
                reason = "a quote is never closed" if "unexpected end of data" in str(error) else error
                raise DataError(f"{self._lines.place(number)}: not valid CSV ({reason})") from error
            finally:
                csv.field_size_limit(limit)
            if fields is None:
                return
            if fields:
                yield number, fields


class JsonlTable(_LineTable):
    """One JSON object a line, each with keys of its own."""

    def _rows(self) -> Iterator[Row]:
        for line in self._lines:
            spelled = line.strip(" \t\r\n")
            if spelled:
                number = self._lines.number
                yield Row(number, self._object(spelled, self._lines.place(number)), spelled.encode())

    def _object(self, spelled: str, place: str) -> dict[str, Any]:
        try:
            # It refuses lone surrogates, NaN and numbers too large for a double, which could not be written.
            values = orjson.loads(spelled)
        except orjson.JSONDecodeError as error:
            raise DataError(f"{place}: not valid JSON ({error.msg} at character {error.pos + 1})") from error
        if not isinstance(values, dict):
            raise DataError(f"{place}: not a JSON object")
        return values


#: How to open a file, by its extension.
TEXT_TABLES: dict[str, Callable[[Path | str, BufferedReader], _LineTable]] = {
    ".txt": TxtTable,
    ".csv": lambda source, file: CsvTable(source, file, ","),
    ".tsv": lambda source, file: CsvTable(source, file, "\t"),
    ".jsonl": JsonlTable,
}


def open_records(source: Path | str, extension: str, header: bytes, records: bytes, line: int) -> Table:
    """Open whole records of a file as a table: `header` is the file's header row, `line` the first record's line.

    Raises `DataError` if the columns cannot be told apart.
    """
    # The reader removes a byte order mark from the front, and records without a header can begin with one of their own.
    content = cast(BufferedReader, _Buffer((header or codecs.BOM_UTF8) + records))
    table = TEXT_TABLES[extension](source, content)
    table.number_from(line)
    return table


class _Buffer(BytesIO):
    """Bytes with the one method of a buffered file that they lack."""

    def peek(self, size: int = 0) -> bytes:
        """Return the next bytes without taking them."""
        return self.getbuffer()[self.tell() : self.tell() + size].tobytes()
