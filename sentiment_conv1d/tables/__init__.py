"""Read tables from files as a stream, for training, evaluation and offline scoring.

The extension decides the format:

    .txt          one text per line, in a column `text`; only LF and CRLF end a line
    .csv, .tsv    a header row, then rows with the same number of fields; double quotes; blank lines are skipped. The
                  delimiter is the one of comma, semicolon, tab and vertical bar that splits the header into most fields
    .jsonl        one object per line, each with its own keys; blank lines are skipped
    .json         the same as .jsonl
    .parquet      needs pyarrow, which is imported only when such a file is opened

All formats except Parquet may be compressed with gzip (`reviews.csv.gz`) and in any encoding that Python knows. Text is
UTF-8 unless `Format` or a byte order mark says otherwise. The mark is not part of the text.
"""

from __future__ import annotations

from pathlib import Path

from sentiment_conv1d.artifact.errors import reading
from sentiment_conv1d.tables.faults import DataError, Fault
from sentiment_conv1d.tables.files import extension, is_compressed, open_utf8
from sentiment_conv1d.tables.format import Format
from sentiment_conv1d.tables.table import Chunk, Row, Table
from sentiment_conv1d.tables.text import open_text

__all__ = ["READABLE", "Chunk", "DataError", "Fault", "Format", "Row", "Table", "extension", "open_table"]

#: The extensions of files that can be read.
READABLE = (".txt", ".csv", ".tsv", ".jsonl", ".json", ".parquet")


def open_table(path: Path, form: Format = Format(), faults: list[Fault] | None = None) -> Table:  # noqa: B008
    """Open a file whose extension is one of `READABLE`, in upper or lower case, or a compressed one.

    `faults` collects the rows that cannot be read; if it is None, the first one raises `DataError`. Raises `DataError`
    if the file cannot be read, two columns have the same name, or pyarrow is missing.
    """
    with reading(path, DataError):
        table = _open(path, extension(path), form)
    table.faults = faults
    return table


def _open(path: Path, kind: str, form: Format) -> Table:
    if kind == ".parquet":
        from sentiment_conv1d.tables.parquet import ParquetTable

        if is_compressed(path):
            raise DataError(f"{path}: a compressed Parquet file cannot be read; decompress it")
        return ParquetTable(path)
    file, encoding = open_utf8(path, form.encoding)
    total = None if is_compressed(path) else path.stat().st_size
    return open_text(path, file, kind, total, encoding, form.delimiter)
