"""The lines of logs that the workers of a service write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sentiment_conv1d.model.errors import reading
from sentiment_conv1d.model.tables.faults import DataError


class Version(NamedTuple):
    """One version of a model."""

    model: str
    number: int


def version_of(record: Mapping[str, Any]) -> Version:
    """Return the version in a record. Raises `KeyError`, `ValueError` or `TypeError` if it names none."""
    return Version(str(record["model"]), int(record["version"]))


def log_lines(paths: Iterable[Path], prefix: str) -> Iterator[bytes]:
    """Yield the lines of files, and of the files `prefix-*` in folders. Raises `DataError`."""
    for path in paths:
        files = sorted(path.glob(f"{prefix}-*.jsonl*")) if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path}: there is no file {prefix}-*.jsonl in this folder")
        for file in files:
            with reading(file, DataError), file.open("rb") as lines:
                yield from lines
