"""Tables in text files: comma- or tab-separated values, and a JSON object a line. All are UTF-8."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sentiment_conv1d.model.data.examples import DataError
from sentiment_conv1d.model.data.rows import Columns, RawRow, require_columns

# The largest limit the csv module accepts on every platform.
_LARGEST_FIELD = 2**31 - 1


def read_delimited(path: Path, columns: Columns, delimiter: str) -> Iterator[RawRow]:
    """The rows of a file whose first record names the columns; fields are quoted as in RFC 4180.

    Raises `DataError`, which names the line where the record at fault starts.
    """
    text = _read_text(path)
    if "\0" in text:
        before = text[: text.index("\0")].encode()
        raise DataError(f"{_line(path, _line_number(before))}: a NUL byte, so this is not a text file")
    records = _records(path, text, delimiter)
    line, header = next(records, (1, []))
    require_columns(columns, header, _line(path, line))
    text_index, label_index = map(header.index, columns)
    for line, fields in records:
        if len(fields) != len(header):
            raise DataError(f"{_line(path, line)}: {len(fields)} fields, while the header has {len(header)}")
        yield RawRow(_line(path, line), fields[text_index], fields[label_index])


def read_json_lines(path: Path, columns: Columns) -> Iterator[RawRow]:
    """The rows of a file with a JSON object a line. Raises `DataError`, which names the line at fault."""
    # Not `splitlines`, which also cuts at characters that JSON allows inside a string.
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = _line(path, number)
        document = _parse_json(line, place)
        if not isinstance(document, dict):
            raise DataError(f"{place}: not a JSON object")
        require_columns(columns, list(document), place)
        yield RawRow(place, document[columns.text], document[columns.label])


def _line(path: Path, number: int) -> str:
    return f"{path}, line {number}"


def _line_number(before: bytes) -> int:
    """The number of the line that what follows `before` is on."""
    return len((before + b".").splitlines())


def _read_text(path: Path) -> str:
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{_line(path, _line_number(content[: error.start]))}: not UTF-8 ({error.reason})") from None
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    return text


def _records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the number of its first line; empty lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            with _unlimited_fields():
                fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = "a quote is never closed" if "unexpected end of data" in str(error) else str(error)
            raise DataError(f"{_line(path, line)}: malformed ({reason})") from None
        if fields:
            yield line, fields


@contextmanager
def _unlimited_fields() -> Iterator[None]:
    # The limit belongs to the whole process, so others find it as they left it.
    limit = csv.field_size_limit(_LARGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _parse_json(line: str, place: str) -> object:
    try:
        document: object = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: malformed JSON ({error.msg}, column {error.colno})") from None
    except (ValueError, RecursionError) as error:  # a number of too many digits, brackets nested too deep
        raise DataError(f"{place}: malformed JSON ({error})") from None
    return document
