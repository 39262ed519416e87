"""Tables in Parquet files. Needs pyarrow, which is imported only when such a file is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sentiment_conv1d.model.data.examples import DataError
from sentiment_conv1d.model.data.rows import Columns, RawRow, require_columns


def read_parquet(path: Path, columns: Columns) -> Iterator[RawRow]:
    """The rows of a Parquet file, numbered from 1.

    Raises `DataError` if the file is corrupt, a column is missing or of a wrong type, or pyarrow is not installed.
    """
    texts, labels = _read_columns(path, columns)
    for number, (text, label) in enumerate(zip(texts, labels, strict=True), start=1):
        place = f"{path}, row {number}"
        try:
            yield RawRow(place, text.as_py(), label.as_py())
        except UnicodeDecodeError:
            raise DataError(f"{place}: not UTF-8") from None


def _read_columns(path: Path, columns: Columns) -> list[Any]:
    """The two columns as arrow's arrays."""
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise DataError(
            f"{path}: Parquet files are read with pyarrow, which is not installed: "
            "pip install 'sentiment-conv1d[parquet]'"
        ) from None
    content = path.read_bytes()  # before arrow looks at it, so that what arrow raises is about the content
    if not content:
        raise DataError(f"{path}: the file is empty")
    try:
        with parquet.ParquetFile(arrow.BufferReader(content), page_checksum_verification=True) as file:
            schema = file.schema_arrow
            require_columns(columns, schema.names, str(path))
            _require_types(columns, schema, path)
            table = file.read(columns=list(columns))
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    return [table[column] for column in columns]


def _require_types(columns: Columns, schema: Any, path: Path) -> None:
    from pyarrow import types

    def holds_text(kind: Any) -> bool:
        # A column of nulls only has a type of its own; that it is empty is said later, as of any other file.
        tests = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
        return any(test(kind) for test in tests)

    def holds_labels(kind: Any) -> bool:
        return holds_text(kind) or types.is_integer(kind) or types.is_boolean(kind)

    kinds = [schema.field(column).type for column in columns]
    text, label = [kind.value_type if types.is_dictionary(kind) else kind for kind in kinds]
    if not holds_text(text):
        raise DataError(f"{path}: column {columns.text!r} is of type {text}; texts must be strings")
    if not holds_labels(label):
        raise DataError(
            f"{path}: column {columns.label!r} is of type {label}; labels must be strings, integers or booleans"
        )
