"""Consecutive rows of a file: what is in memory at one time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

#: A chunk ends at the first of these two. Python objects take a few times the bytes of the file.
CHUNK_ROWS = 256
CHUNK_BYTES = 2**20


class Row(NamedTuple):
    """One row of the input."""

    number: int  # from 1; in text formats the number of its first line
    text: str
    values: dict[str, Any]  # all columns, the text among them
    json: bytes | None = None  # the object as it was spelled, where it came as JSON


class Chunk(ABC):
    """Rows, their texts, and how far they go on the progress bar: bytes of text formats, rows of Parquet."""

    unit: str

    def __init__(self, source: Path, texts: Sequence[str], progress: int) -> None:
        self.source = source
        self.texts = texts
        self.progress = progress

    @property
    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """The rows as Python values."""

    def place(self, row: Row) -> str:
        """A row, for a message."""
        return f"{self.source}: {self.unit} {row.number}"

    @property
    def span(self) -> str:
        """All of the rows, for a message."""
        return f"{self.source}: {self.unit}s {self.rows[0].number} to {self.rows[-1].number}"


class LineChunk(Chunk):
    """Rows of a text format."""

    unit = "line"

    def __init__(self, source: Path, rows: Sequence[Row], progress: int) -> None:
        super().__init__(source, [row.text for row in rows], progress)
        self._rows = rows

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows
