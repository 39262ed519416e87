"""The parts of a run: rows of one file that are read, scored and written together, each independently of the others."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.model.tables.text import USUAL_DELIMITERS, detect_delimiter, header_lines, open_records
from sentiment_conv1d.scoring.storage import STANDARD, Source, open_parquet, open_place, standard_input

#: Rows of a part, unless the user says otherwise: about a second of work.
PART_ROWS = 8192

#: A part of a text file ends here even if it has fewer rows.
PART_BYTES = 2**25

#: The largest that the csv module takes on every platform.
_FIELD_LIMIT = 2**31 - 1


class Part(NamedTuple):
    """Consecutive rows of one file."""

    number: int  # in the run, from 0
    source: Source
    start: int  # rows of a Parquet file, bytes of other files
    stop: int
    size: int  # bytes of the file that it stands for
    line: int = 1  # number of the first line of a text file
    header: bytes = b""  # the header row of a CSV file
    content: bytes | None = None  # the bytes themselves, if they come from standard input


def plan(sources: Sequence[Source], part_rows: int = PART_ROWS) -> Iterator[Part]:
    """The parts of all files, in order.

    The footer of a Parquet file says where its parts are. A text file is read once to find where records begin, a part
    at a time. Raises `DataError` if a file cannot be read.
    """
    number = 0
    for source in sources:
        parts = _parquet_parts(source, part_rows) if source.extension == ".parquet" else _text_parts(source, part_rows)
        for part in parts:
            yield part._replace(number=number)
            number += 1


def _csv_records(place: str, file: BinaryIO, usual: str) -> Iterator[tuple[int, bytes]]:
    """The line number, from 1, and the bytes of every record of a CSV file.

    The first one is the header row with the blank lines before it; its delimiter is that of the others, and `usual` if
    several are possible. Raises `DataError` at a record that is not CSV.
    """
    taken: list[bytes] = []

    def lines() -> Iterator[str]:
        for line in file:
            taken.append(line)
            yield line.decode("utf-8", "surrogateescape").removeprefix("\ufeff")

    decoded = lines()
    delimiter = detect_delimiter(header_lines(decoded), usual)
    reader = csv.reader(decoded, delimiter=delimiter, strict=True)
    number = 1
    yield number, b"".join(taken)
    number += len(taken)
    taken.clear()
    while True:
        limit = csv.field_size_limit(_FIELD_LIMIT)
        try:
            found = next(reader, None)
        except csv.Error as error:
            reason = "a quote is never closed" if "unexpected end of data" in str(error) else error
            raise DataError(f"{place}: line {number}: not valid CSV ({reason})") from error
        finally:
            csv.field_size_limit(limit)
        if found is None:
            return
        yield number, b"".join(taken)
        number += len(taken)
        taken.clear()


def _text_parts(source: Source, part_rows: int) -> Iterator[Part]:
    standard = source.place == STANDARD
    with standard_input() if standard else open_place(source.place) as file:
        found: Iterator[tuple[int, bytes]] = enumerate(file, 1)
        header = b""
        if source.extension in USUAL_DELIMITERS:
            found = _csv_records(source.place, file, USUAL_DELIMITERS[source.extension])
            _, header = next(found)
            if header:
                open_records(source.place, source.extension, header, b"", 1)  # raises `DataError` for a bad header
        part = Part(0, source, len(header), len(header), 0, 1, header)
        contents: list[bytes] = []
        rows = 0

        def cut() -> Part:
            return part._replace(size=part.stop - part.start, content=b"".join(contents) if standard else None)

        try:
            for line, record in found:
                if not rows:
                    # The reader of a part adds a byte order mark of its own.
                    mark = len(codecs.BOM_UTF8) if part.stop == 0 and record.startswith(codecs.BOM_UTF8) else 0
                    part = part._replace(start=part.stop + mark, line=line)
                    contents = []
                rows += 1
                part = part._replace(stop=part.stop + len(record))
                if standard:
                    contents.append(record[mark:] if rows == 1 else record)
                if rows == part_rows or part.stop - part.start >= PART_BYTES:
                    yield cut()
                    rows = 0
        except DataError:
            if rows:
                yield cut()
            raise
        if rows:
            yield cut()


def _parquet_parts(source: Source, part_rows: int) -> Iterator[Part]:
    with open_parquet(source.place) as table:
        rows = table.total
    for start in range(0, rows, part_rows):
        stop = min(start + part_rows, rows)
        yield Part(0, source, start, stop, source.size * (stop - start) // rows)
