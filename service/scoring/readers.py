"""Files to chunks of rows: the text formats, and the choice of a reader by extension."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Self

import orjson

from sentiment_conv1d.service.scoring.chunks import CHUNK_BYTES, CHUNK_ROWS, Chunk, LineChunk, Row
from sentiment_conv1d.service.scoring.columns import check_columns, check_distinct
from sentiment_conv1d.service.scoring.errors import ScoringError
from sentiment_conv1d.service.scoring.lines import Lines

#: The largest the csv module takes on every platform; its default is 128 KiB.
_FIELD_LIMIT = 2**31 - 1


class Reader(ABC):
    """An open input file."""

    columns: tuple[str, ...] | None = None  # of every row, None where each row has its own
    total: int  # where the progress bar ends
    unit: str  # what the progress bar counts
    _file: Any

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """All rows, once. Raises `ScoringError` at the first bad one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def open_reader(source: Path, text_column: str, added: Collection[str]) -> Reader:
    """Open a file by its extension; `added` are the columns that the input may not have.

    Raises `ScoringError` if it cannot be opened or its columns are not as they must be.
    """
    extension = source.suffix.lower()
    try:
        if extension == ".parquet":
            from sentiment_conv1d.service.scoring.parquet import ParquetReader

            return ParquetReader(source, text_column, added)
        return _TEXT_READERS[extension](source, text_column, added)
    except OSError as error:
        raise ScoringError(f"{source}: cannot be read ({error.strerror or error})") from error


class _LineReader(Reader):
    """What the text formats share."""

    unit = "B"

    def __init__(self, source: Path, text_column: str, added: Collection[str]) -> None:
        self._text_column = text_column
        self._added = added
        self._file = source.open("rb")
        try:
            self.total = source.stat().st_size
            self._lines = Lines(source, self._file)
            self._read_header()
        except BaseException:
            self._file.close()
            raise

    def chunks(self) -> Iterator[Chunk]:
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

    def _read_header(self) -> None:
        pass

    @abstractmethod
    def _rows(self) -> Iterator[Row]: ...


class TxtReader(_LineReader):
    """One review a line; an empty line is an empty review, so that rows and lines count alike."""

    columns = ("text",)

    def _rows(self) -> Iterator[Row]:
        for line in self._lines:
            text = line[:-1].removesuffix("\r") if line.endswith("\n") else line
            yield Row(self._lines.number, text, {"text": text})


class CsvReader(_LineReader):
    """Comma-separated, double quotes, quoted newlines allowed."""

    columns: tuple[str, ...]

    def _read_header(self) -> None:
        # Strict, or the module would take `"a"b` for ab and the rest of the file for a field without its last quote.
        self._records = csv.reader(self._lines, strict=True)
        number, header = next(self._numbered(), (0, []))
        if not header:
            raise ScoringError(f"{self._lines.source}: there is no header row")
        place = self._lines.place(number)
        check_distinct(place, header)
        check_columns(place, header, self._text_column, self._added)
        self.columns = tuple(header)

    def _rows(self) -> Iterator[Row]:
        for number, fields in self._numbered():
            if len(fields) != len(self.columns):
                place = self._lines.place(number)
                raise ScoringError(f"{place}: {len(fields)} fields, while the header has {len(self.columns)}")
            values = dict(zip(self.columns, fields, strict=True))
            yield Row(number, values[self._text_column], values)

    def _numbered(self) -> Iterator[tuple[int, list[str]]]:
        """Records that are not blank, each with the number of its first line."""
        while True:
            number = self._lines.number + 1
            # The limit belongs to the whole process, so others find it as they left it.
            limit = csv.field_size_limit(_FIELD_LIMIT)
            try:
                fields = next(self._records, None)
            except csv.Error as error:
                raise ScoringError(f"{self._lines.place(number)}: not valid CSV ({error})") from error
            finally:
                csv.field_size_limit(limit)
            if fields is None:
                return
            if fields:
                yield number, fields


class JsonlReader(_LineReader):
    """One JSON object a line, each with the keys it likes."""

    def _rows(self) -> Iterator[Row]:
        for line in self._lines:
            spelled = line.strip(" \t\r\n")
            if spelled:
                number = self._lines.number
                values = self._object(spelled, self._lines.place(number))
                yield Row(number, values[self._text_column], values, spelled.encode())

    def _object(self, spelled: str, place: str) -> dict[str, Any]:
        try:
            # It refuses lone surrogates, NaN and numbers too large for a double, which could not be written.
            values = orjson.loads(spelled)
        except orjson.JSONDecodeError as error:
            raise ScoringError(f"{place}: not valid JSON ({error.msg} at character {error.pos + 1})") from error
        if not isinstance(values, dict):
            raise ScoringError(f"{place}: not a JSON object")
        check_columns(place, values, self._text_column, self._added)
        text = values[self._text_column]
        if not isinstance(text, str):
            kind = "null" if text is None else f"of type {type(text).__name__}"
            raise ScoringError(f"{place}: the column {self._text_column!r} is {kind}, not a string")
        return values


_TEXT_READERS: dict[str, type[_LineReader]] = {".txt": TxtReader, ".csv": CsvReader, ".jsonl": JsonlReader}

#: Extensions of files that can be read.
READABLE = (*_TEXT_READERS, ".parquet")
