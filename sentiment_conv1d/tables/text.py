"""Tables in text formats."""

from __future__ import annotations

import codecs
import csv
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import orjson

from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.tables.faults import DataError
from sentiment_conv1d.tables.files import READ_ERRORS
from sentiment_conv1d.tables.table import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    Chunk,
    Row,
    Table,
    require_column,
    require_distinct,
)

#: The delimiters that are detected in a CSV file.
_DELIMITERS = ",;\t|"

#: The delimiter if several are possible, by the extension of the file.
_USUAL_DELIMITERS = {".csv": ",", ".tsv": "\t"}

#: The reason of a fault: a record of a CSV file cannot be read, and the file may not be understood from there on.
INVALID_CSV = "not valid CSV"

#: Characters that text does not contain.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")

#: What to do if the lines that are not UTF-8 are text in the usual encoding of Windows.
_CP1252 = "if the file is in the encoding of Windows, add --encoding cp1252"

#: The beginning of a JSON array of objects.
_ARRAY = re.compile(rb"\s*\[\s*\{")

#: The largest limit that the csv module accepts on every platform. Its default is 128 KiB.
_FIELD_LIMIT = 2**31 - 1


class Lines(Iterator[str]):
    """The lines of a file, including their ends. Only LF ends a line, unlike with `str.splitlines`.

    A line that is not UTF-8 is returned with replacement characters, and `take_damage` says where it is damaged. Raises
    `DataError` if the file cannot be read.
    """

    def __init__(self, source: Path | str, file: BufferedReader) -> None:
        self.source = source
        self.number = 0  # of the last line that was read
        self.bytes = 0  # read so far
        self._file = file
        self._damage = ""
        self.cp1252: bool | None = None  # whether the lines that are not UTF-8 are text in cp1252; None without any
        try:
            if file.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):
                self.bytes += len(file.read(len(codecs.BOM_UTF8)))
        except READ_ERRORS as error:
            raise self._unreadable(error) from error

    def __next__(self) -> str:
        try:
            line = self._file.readline()
        except READ_ERRORS as error:
            raise self._unreadable(error) from error
        if not line:
            raise StopIteration
        self.number += 1
        self.bytes += len(line)
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            self.cp1252 = self.cp1252 is not False and _is_cp1252(line)
            self._damage = self._damage or f"byte 0x{line[error.start]:02x} at {error.start + 1}"
            return line.decode(errors="replace")

    def take_damage(self) -> str:
        """Return the first byte that is not UTF-8 in the lines since the last call; an empty string if all are."""
        damage, self._damage = self._damage, ""
        return damage

    def location(self, number: int) -> str:
        """Return the location of a line, for a message."""
        return f"{self.source}: line {number}"

    def _unreadable(self, error: Exception) -> DataError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        where = f" after line {self.number}" if self.number else ""
        return DataError(f"{self.source}: cannot be read{where} ({reason})")


class LineChunk(Chunk):
    """Rows of a text format, each with its own keys."""

    def __init__(self, source: Path | str, rows: Sequence[Row], progress: int, unit: str = "line") -> None:
        super().__init__(source, [row.number for row in rows], progress)
        self._rows = rows
        self.unit = unit

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    def values(self, column: str) -> list[Any]:
        for row in self._rows:
            require_column(self.location(row.number), row.values, column)
        return [row.values[column] for row in self._rows]


class LineTable(Table):
    """A table in a text format."""

    unit, row_unit = "B", "line"

    def __init__(
        self, source: Path | str, file: BufferedReader, total: int | None = None, encoding: str = "UTF-8"
    ) -> None:
        """Read a file of UTF-8. `total` is its size in bytes if known, and `encoding` its encoding before decoding."""
        self._file, self.total, self._encoding = file, total, encoding
        self.source, self.location = source, str(source)
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

    @property
    def hint(self) -> str:
        return _CP1252 if self._lines.cp1252 and self._encoding == "UTF-8" else ""

    def _read_header(self) -> None:
        """Read what comes before the rows."""

    def _is_damaged(self, number: int) -> bool:
        """Return whether the row at line `number` is not UTF-8, and report it."""
        damage = self._lines.take_damage()
        if damage:
            self.report(number, f"not {self._encoding}", damage)
        return bool(damage)

    @abstractmethod
    def _rows(self) -> Iterator[Row]: ...


def _is_cp1252(line: bytes) -> bool:
    """Return whether bytes are text in cp1252, which has no meaning for some bytes."""
    try:
        line.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return not _CONTROL.search(line)


class TxtTable(LineTable):
    """One text per line. An empty line is an empty text, so that rows and lines have the same numbers."""

    columns = ("text",)

    def _rows(self) -> Iterator[Row]:
        for line in self._lines:
            text = line[:-1].removesuffix("\r") if line.endswith("\n") else line
            yield Row(self._lines.number, {"text": text})


class CsvTable(LineTable):
    """Fields separated by a delimiter, with double quotes. Quoted fields may contain newlines."""

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
        """Read a file. Without a `delimiter`, the one that splits the header into most fields; `usual` breaks ties."""
        self._delimiter = delimiter
        self._usual = usual
        super().__init__(source, file, total, encoding)

    def _read_header(self) -> None:
        # The header is read separately, because it decides the delimiter of all other rows.
        lines = _header_lines(self._lines)
        number = self._lines.number - len(lines) + 1 + next((n for n, line in enumerate(lines) if line.strip()), 0)
        if damage := self._lines.take_damage():
            hint = f"; {self.hint}" if self.hint else ""
            raise DataError(f"{self._lines.location(number)}: not {self._encoding} ({damage}){hint}")
        delimiter = self._delimiter or _detect_delimiter(lines, self._usual)
        try:
            # If not strict, the module reads `"a"b` as ab, and after an unclosed quote the rest of the file as a field.
            header, *others = filter(None, csv.reader(lines, delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise DataError(f"{self._lines.location(number)}: not valid CSV ({_csv_fault(error)})") from error
        except ValueError:
            raise DataError(f"{self._lines.source}: there is no header row") from None
        self.location = self._lines.location(number)
        if others:
            raise DataError(f"{self.location}: not valid CSV (a quote inside a field that does not start with a quote)")
        require_distinct(self.location, header)
        self.columns = tuple(header)
        self._records = csv.reader(self._lines, delimiter=delimiter, strict=True)

    def _rows(self) -> Iterator[Row]:
        for number, fields in self._numbered():
            if len(fields) == len(self.columns):
                yield Row(number, dict(zip(self.columns, fields, strict=True)))
            else:
                self._lines.take_damage()
                self.report(number, f"{counted(len(fields), 'field')}, while the header has {len(self.columns)}")

    def _numbered(self) -> Iterator[tuple[int, list[str]]]:
        """Yield records that are not blank, each with the number of its first line."""
        while True:
            number = self._lines.number + 1
            try:
                fields = _next_record(self._records)
            except csv.Error as error:
                self._lines.take_damage()
                self.report(number, INVALID_CSV, _csv_fault(error))
                continue
            if fields is None:
                return
            if fields:
                yield number, fields


def _header_lines(lines: Iterable[str]) -> list[str]:
    """Return the lines up to the end of the header row: the first non-blank line, and more while a quote is open."""
    header: list[str] = []
    quotes = 0
    for line in lines:
        header.append(line)
        quotes += line.count('"')
        if line.strip("\r\n") and quotes % 2 == 0:
            break
    return header


def _detect_delimiter(header: Sequence[str], usual: str) -> str:
    """Return the delimiter that splits a header into most fields; `usual` if there are several."""
    counts = {}
    for delimiter in _DELIMITERS:
        try:
            counts[delimiter] = max(map(len, csv.reader(header, delimiter=delimiter, strict=True)), default=0)
        except csv.Error:  # a quote next to another delimiter
            counts[delimiter] = 0
    return max(counts, key=lambda delimiter: (counts[delimiter], delimiter == usual))


def _next_record(records: Iterator[list[str]]) -> list[str] | None:
    """Return the next record of a `csv.reader`, with fields of any size; None at the end. Raises `csv.Error`."""
    limit = csv.field_size_limit(_FIELD_LIMIT)  # which is global, so it is set for one record only
    try:
        return next(records, None)
    finally:
        csv.field_size_limit(limit)


def _csv_fault(error: csv.Error) -> str:
    """Return what is wrong with a record."""
    return "a quote is never closed" if "unexpected end of data" in str(error) else str(error)


class JsonlTable(LineTable):
    """One JSON object per line, each with its own keys."""

    def _read_header(self) -> None:
        if _ARRAY.match(self._file.peek(1 << 12)):
            raise DataError(
                f"{self.source}: a JSON array cannot be read; write one object per line, "
                "for example with jq -c '.[]' reviews.json > reviews.jsonl"
            )

    def _rows(self) -> Iterator[Row]:
        for line in self._lines:
            spelled = line.strip(" \t\r\n")
            number = self._lines.number
            if spelled and not self._is_damaged(number):
                try:
                    # orjson refuses lone surrogates, NaN and numbers too large for a double, which cannot be written.
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
    """Open a file of UTF-8 as a table, by its extension: `.txt`, `.csv`, `.tsv`, `.jsonl` or `.json`.

    `total` is its size in bytes if known, `encoding` its encoding before decoding, and `delimiter` the stated delimiter
    of a CSV file. Raises `DataError` if two columns have the same name.
    """
    if extension in (".jsonl", ".json"):
        return JsonlTable(source, file, total, encoding)
    if extension == ".txt":
        return TxtTable(source, file, total, encoding)
    return CsvTable(source, file, total, encoding, delimiter=delimiter, usual=_USUAL_DELIMITERS[extension])
