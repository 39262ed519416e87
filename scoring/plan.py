"""Divides files into parts. A part is read, scored and written independently of the others."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from io import BufferedReader
from math import ceil
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson

from sentiment_conv1d.model.tables import DataError, Format
from sentiment_conv1d.model.tables.files import READ_ERRORS, is_compressed
from sentiment_conv1d.model.tables.json_array import JsonTable, is_array
from sentiment_conv1d.model.tables.records import open_records
from sentiment_conv1d.model.tables.text import USUAL_DELIMITERS, csv_fault, detect_delimiter, header_lines, next_record
from sentiment_conv1d.scoring.storage import Source, open_parquet, open_text_source

#: The default limit of rows per part, about a second of work.
PART_ROWS = 8192

#: The most bytes per part of a text file.
PART_BYTES = 2**25

#: Files have at least this many parts, so that processes end at about the same time. Parts of fewer rows or bytes than
#: these would take longer to open than to score.
_LEAST_PARTS, _LEAST_ROWS, _LEAST_BYTES = 16, 1024, 2**20


class Part(NamedTuple):
    """Consecutive rows of one file."""

    number: int  # in the run, from 0
    source: Source
    start: int  # rows of a Parquet file or a JSON array, bytes of other files
    stop: int
    size: int  # bytes of the file, for the progress bar
    form: Format = Format()  # of a text file: the stated delimiter, and the encoding that it was decoded from
    first: int = 1  # number of the first line of a text file, or of the first row of a JSON array
    header: bytes = b""  # the header row of a CSV file
    content: bytes | None = None  # the rows, if they cannot be read by their position in the file


def plan(sources: Sequence[Source], part_rows: int = PART_ROWS, form: Format = Format()) -> Iterator[Part]:  # noqa: B008
    """Yield the parts of all files, in order, or one part without rows if all files are empty.

    A part has at most `part_rows` rows. The footer of a Parquet file says where its parts are. A text file is read
    once, a part at a time, to find where records begin. `form` is the delimiter and the encoding of text files, if they
    are stated. Raises `DataError` if a file cannot be read.
    """
    number = 0
    empty = None
    for source in sources:
        parts = _parquet_parts(source, part_rows) if source.extension == ".parquet" else _parts(source, form, part_rows)
        for part in parts:
            if part.start == part.stop:
                empty = empty or part
                continue
            yield part._replace(number=number)
            number += 1
    if empty is not None and not number:
        yield empty


def _parts(source: Source, form: Format, part_rows: int) -> Iterator[Part]:
    """Yield the parts of a text file.

    Parts of standard input, of a web page of unknown size, of compressed files and of other encodings than UTF-8
    contain their rows, because these cannot be read by their position in the file.
    """
    file, encoding = open_text_source(source, form.encoding)
    with file:
        form = form._replace(encoding=encoding)
        if source.extension == ".json":
            if is_array(file):
                yield from _array_parts(source, file, form, part_rows)
                return
            source = source._replace(extension=".jsonl")
        carried = not source.size or is_compressed(Path(source.place)) or encoding != "UTF-8"
        yield from _text_parts(source, file, form, part_rows, carried)


def _csv_records(place: str, file: BinaryIO, delimiter: str | None, usual: str) -> Iterator[tuple[int, bytes]]:
    """Yield the line number, from 1, and the bytes of every record of a CSV file.

    The first record is the header row, with the blank lines before it. If no delimiter is stated, the header row
    decides it; `usual` wins if several are possible. Raises `DataError` at a record that is not CSV.
    """
    taken: list[bytes] = []

    def lines() -> Iterator[str]:
        for line in file:
            taken.append(line)
            yield line.decode("utf-8", "surrogateescape").removeprefix("\ufeff")

    decoded = lines()
    header = header_lines(decoded)
    delimiter = delimiter or detect_delimiter(header, usual)
    reader = csv.reader(decoded, delimiter=delimiter, strict=True)
    number = 1
    yield number, b"".join(taken)
    number += len(taken)
    taken.clear()
    while True:
        try:
            found = next_record(reader)
        except csv.Error as error:
            raise DataError(f"{place}: line {number}: not valid CSV ({csv_fault(error)})") from error
        if found is None:
            return
        yield number, b"".join(taken)
        number += len(taken)
        taken.clear()


def _text_parts(source: Source, file: BufferedReader, form: Format, part_rows: int, carried: bool) -> Iterator[Part]:
    """Yield parts of complete lines or CSV records."""
    found: Iterator[tuple[int, bytes]] = enumerate(file, 1)
    header = b""
    if source.extension in USUAL_DELIMITERS:
        found = _csv_records(source.place, file, form.delimiter, USUAL_DELIMITERS[source.extension])
    found = _readable(source.place, found)
    if source.extension in USUAL_DELIMITERS:
        _, header = next(found)
        if header:
            open_records(source.place, source.extension, header, b"", 1, form)  # raises `DataError` for a bad header
    part = Part(0, source, len(header), len(header), 0, form, 1, header)
    part_bytes = min(PART_BYTES, max(source.size // _LEAST_PARTS, _LEAST_BYTES)) if source.size else PART_BYTES
    contents: list[bytes] = []
    rows = 0

    def cut() -> Part:
        return part._replace(size=part.stop - part.start, content=b"".join(contents) if carried else None)

    yield cut()  # without rows, for a file that has none
    try:
        for line, record in found:
            if not rows:
                # The reader of a part adds a byte order mark of its own.
                mark = len(codecs.BOM_UTF8) if part.stop == 0 and record.startswith(codecs.BOM_UTF8) else 0
                part = part._replace(start=part.stop + mark, first=line)
                contents = []
            rows += 1
            part = part._replace(stop=part.stop + len(record))
            if carried:
                contents.append(record[mark:] if rows == 1 else record)
            if rows == part_rows or part.stop - part.start >= part_bytes:
                yield cut()
                rows = 0
    except DataError:
        if rows:
            yield cut()
        raise
    if rows:
        yield cut()


def _readable(place: str, records: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield the records. Raises `DataError` if the file cannot be read to its end."""
    line = 0
    try:
        for line, record in records:
            yield line, record
    except READ_ERRORS as error:
        where = f" after line {line}" if line else ""
        raise DataError(f"{place}: cannot be read{where} ({error})") from error


def _array_parts(source: Source, file: BufferedReader, form: Format, part_rows: int) -> Iterator[Part]:
    """Yield parts of a JSON array. Each contains its rows, because a piece of the file is not valid JSON."""
    rows = JsonTable(source.place, file, form.encoding or "UTF-8").values
    for start, stop in _ranges(len(rows), part_rows):
        size = source.size * (stop - start) // max(len(rows), 1)
        try:
            content = orjson.dumps(rows[start:stop])
        except orjson.JSONEncodeError as error:
            raise DataError(
                f"{source.place}: rows {start + 1} to {stop}: cannot be written as JSON ({error})"
            ) from error
        yield Part(0, source, start, stop, size, form, start + 1, content=content)


def _parquet_parts(source: Source, part_rows: int) -> Iterator[Part]:
    with open_parquet(source.place) as table:
        rows = table.total
    for start, stop in _ranges(rows, part_rows):
        yield Part(0, source, start, stop, source.size * (stop - start) // max(rows, 1))


def _ranges(rows: int, part_rows: int) -> Iterator[tuple[int, int]]:
    """Divide rows into parts: yield the first row of each, and the row after its last one."""
    part_rows = min(part_rows, max(ceil(rows / _LEAST_PARTS), _LEAST_ROWS))
    for start in range(0, max(rows, 1), part_rows):
        yield start, min(start + part_rows, rows)
