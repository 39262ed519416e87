"""Tables in text formats."""

from __future__ import annotations

import csv
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

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

#: What may separate the fields of a CSV file.
_DELIMITERS = ",;\t|"

#: Which of them it is if several are possible, by the extension of the file.
USUAL_DELIMITERS = {".csv": ",", ".tsv": "\t"}

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


class LineTable(Table):
    """What the text formats share."""

    unit, row_unit = "B", "line"

    def __init__(
        self, source: Path | str, file: BufferedReader, total: int | None = None, encoding: str = "UTF-8"
    ) -> None:
        """Read a file of UTF-8, `total` bytes if that is known; `encoding` is what it was decoded from."""
        self._file, self.total, self._encoding = file, total, encoding
        self.source, self.place = source, str(source)
        try:
            self._lines = Lines(source, file)
            self._read_header()
        except BaseException:
            file.close()
            raise

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        rows: list[Row] = []
        start = 0
        for row in self._rows():
            if self._is_damaged(row.number):
                continue
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
        """Read what comes before the rows."""

    def _is_damaged(self, number: int) -> bool:
        """Report a row from line `number` on, up to the last line that was read, that is not UTF-8."""
        damage = self._lines.take_damage()
        if damage:
            self.report(number, f"not {self._encoding}", damage)
        return bool(damage)

    @abstractmethod
    def _rows(self) -> Iterator[Row]: ...


class TxtTable(LineTable):
    """One text a line; an empty line is an empty text, so that rows and lines count alike."""

    columns = ("text",)

    def _rows(self) -> Iterator[Row]:
        for line in self._lines:
            text = line[:-1].removesuffix("\r") if line.endswith("\n") else line
            yield Row(self._lines.number, {"text": text})


class CsvTable(LineTable):
    """Fields between delimiters, double quotes, quoted newlines allowed."""

    columns: tuple[str, ...]

    def __init__(
        self,
        source: Path | str,
        file: BufferedReader,
        total: int | None = None,
        encoding: str = "UTF-8",
        *,
        delimiter: str | None = None,
        usual: str = ",",
    ) -> None:
        """Read a file whose delimiter is stated, or the one that gives its header most fields; `usual` breaks a tie."""
        self._delimiter = delimiter
        self._usual = usual
        super().__init__(source, file, total, encoding)

    def _read_header(self) -> None:
        # The header is read by itself: the delimiter of all other rows is the one that it has.
        lines = header_lines(self._lines)
        number = self._lines.number - len(lines) + 1 + next((n for n, line in enumerate(lines) if line.strip()), 0)
        if damage := self._lines.take_damage():
            raise DataError(f"{self._lines.place(number)}: not {self._encoding} ({damage})")
        delimiter = self._delimiter or detect_delimiter(lines, self._usual)
        try:
            # Strict, or the module would take `"a"b` for ab and the rest of the file for a field whose quote is not
            # closed.
            header, *others = filter(None, csv.reader(lines, delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise DataError(f"{self._lines.place(number)}: not valid CSV ({_reason(error)})") from error
        except ValueError:
            raise DataError(f"{self._lines.source}: there is no header row") from None
        self.place = self._lines.place(number)
        if others:
            raise DataError(f"{self.place}: not valid CSV (a quote in a field that does not begin with one)")
        require_distinct(self.place, header)
        self.columns = tuple(header)
        self._records = csv.reader(self._lines, delimiter=delimiter, strict=True)

    def _rows(self) -> Iterator[Row]:
        for number, fields in self._numbered():
            if len(fields) == len(self.columns):
                yield Row(number, dict(zip(self.columns, fields, strict=True)))
            else:
                self._lines.take_damage()
                self.report(number, f"{len(fields)} fields, while the header has {len(self.columns)}")

    def _numbered(self) -> Iterator[tuple[int, list[str]]]:
        """Records that are not blank, each with the number of its first line."""
        while True:
            number = self._lines.number + 1
            # The limit belongs to the whole process, so others find it as they left it.
            limit = csv.field_size_limit(_FIELD_LIMIT)
            try:
                fields = next(self._records, None)
            except csv.Error as error:
                self._lines.take_damage()
                self.report(number, "not valid CSV", _reason(error))
                continue
            finally:
                csv.field_size_limit(limit)
            if fields is None:
                return
            if fields:
                yield number, fields


def header_lines(lines: Iterable[str]) -> list[str]:
    """The lines up to the end of a header row: the first one that is not blank, and more while a quote is open."""
    header: list[str] = []
    quotes = 0
    for line in lines:
        header.append(line)
        quotes += line.count('"')
        if line.strip("\r\n") and quotes % 2 == 0:
            break
    return header


def detect_delimiter(header: Sequence[str], usual: str) -> str:
    """The delimiter that splits the lines of a header into most fields; `usual` if several do."""
    counts = {}
    for delimiter in _DELIMITERS:
        try:
            counts[delimiter] = max(map(len, csv.reader(header, delimiter=delimiter, strict=True)), default=0)
        except csv.Error:  # a quote next to another delimiter
            counts[delimiter] = 0
    return max(counts, key=lambda delimiter: (counts[delimiter], delimiter == usual))


def _reason(error: csv.Error) -> str:
    return "a quote is never closed" if "unexpected end of data" in str(error) else str(error)


class JsonlTable(LineTable):
    """One JSON object a line, each with keys of its own."""

    def _rows(self) -> Iterator[Row]:
        for line in self._lines:
            spelled = line.strip(" \t\r\n")
            number = self._lines.number
            if spelled and not self._is_damaged(number):
                try:
                    # It refuses lone surrogates, NaN and numbers too large for a double, which could not be written.
                    values = orjson.loads(spelled)
                except orjson.JSONDecodeError as error:
                    self.report(number, "not valid JSON", f"{error.msg} at character {error.pos + 1}")
                    continue
                if isinstance(values, dict):
                    yield Row(number, values, spelled.encode())
                else:
                    self.report(number, "not a JSON object")


def open_text(
    source: Path | str,
    file: BufferedReader,
    extension: str,
    total: int | None = None,
    encoding: str = "UTF-8",
    delimiter: str | None = None,
) -> LineTable:
    """Open a file of UTF-8 as the table that its extension names: `.txt`, `.csv`, `.tsv` or `.jsonl`.

    `total` is its size in bytes if that is known, `encoding` what it was decoded from, and `delimiter` that of a CSV
    file if it is stated. Raises `DataError` if the columns cannot be told apart.
    """
    if extension == ".jsonl":
        return JsonlTable(source, file, total, encoding)
    if extension == ".txt":
        return TxtTable(source, file, total, encoding)
    return CsvTable(source, file, total, encoding, delimiter=delimiter, usual=USUAL_DELIMITERS[extension])
