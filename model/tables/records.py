"""Rows that were cut out of a file, as a separate table."""

from __future__ import annotations

import codecs
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path
from typing import cast

from sentiment_conv1d.model.tables.faults import Fault
from sentiment_conv1d.model.tables.format import Format
from sentiment_conv1d.model.tables.json_array import JsonTable
from sentiment_conv1d.model.tables.table import Table
from sentiment_conv1d.model.tables.text import LineTable, open_text


def open_records(
    source: Path | str,
    extension: str,
    header: bytes,
    records: bytes,
    first: int,
    form: Format = Format(),  # noqa: B008
    faults: list[Fault] | None = None,
) -> Table:
    """Open whole records of a file as a table.

    `records` are lines of UTF-8 behind the file's `header` row, or a JSON array if the extension is `.json`. `first` is
    the number of the first line or row. `form` states the delimiter of CSV, and what was decoded. `faults` collects the
    records that cannot be read; if it is None, the first one raises `DataError`, and so do columns that cannot be told
    apart.
    """
    encoding = form.encoding or "UTF-8"
    table: LineTable | JsonTable
    if extension == ".json":
        table = JsonTable(source, _file(records), encoding)
    else:
        # The reader removes a byte order mark from the front, and records without a header can begin with their own.
        content = _file((header or codecs.BOM_UTF8) + records)
        table = open_text(source, content, extension, encoding=encoding, delimiter=form.delimiter)
    table.number_from(first)
    table.faults = faults
    return table


def _file(content: bytes) -> BufferedReader:
    return BufferedReader(cast(RawIOBase, BytesIO(content)))
