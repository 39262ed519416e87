"""Tables in files, read as a stream: the one reader of training, evaluation and offline scoring.

Formats go by extension:

    .txt          one text a line, in a column `text`; LF or CRLF ends a line, nothing else does
    .csv, .tsv    a header row, then rows of as many fields; double quotes; blank lines are skipped
    .jsonl        one object a line, each with keys of its own; blank lines are skipped
    .parquet      needs pyarrow, which is imported only when such a file is opened

Text is UTF-8; a byte order mark at the start is not part of it.
"""

from __future__ import annotations

from pathlib import Path

from sentiment_conv1d.model.tables.errors import DataError
from sentiment_conv1d.model.tables.table import Chunk, Row, Table
from sentiment_conv1d.model.tables.text import TEXT_TABLES

__all__ = ["READABLE", "Chunk", "DataError", "Row", "Table", "open_table"]

#: The extensions of files that can be read.
READABLE = (*TEXT_TABLES, ".parquet")


def open_table(path: Path) -> Table:
    """Open a file whose extension is one of `READABLE`, in whatever case.

    Raises `DataError` if it cannot be read, its columns cannot be told apart, or pyarrow is missing.
    """
    extension = path.suffix.lower()
    try:
        if extension == ".parquet":
            from sentiment_conv1d.model.tables.parquet import ParquetTable

            return ParquetTable(path)
        return TEXT_TABLES[extension](path, path.open("rb"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
