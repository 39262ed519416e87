"""What is wrong with files and with their rows."""

from __future__ import annotations

from typing import NamedTuple

from sentiment_conv1d.artifact.errors import SentimentError


class DataError(SentimentError):
    """A file cannot be read, used or written. The message names the file, and the row (from 1) or the column.

    In text formats, the number of a row is that of its first line.
    """


class Fault(NamedTuple):
    """Why a row cannot be used. Rows with the same `reason` are reported together; `detail` is about this row only."""

    file: str
    unit: str  # "line" or "row"
    number: int  # of the row or of its first line; 0 if the whole file is one text
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.location}: {self.explanation}"

    @property
    def location(self) -> str:
        """The file, and the row's number unless the whole file is one text."""
        return f"{self.file}: {self.unit} {self.number}" if self.number else self.file

    @property
    def record(self) -> dict[str, str | int]:
        """The row as files of bad rows have it, one JSON object a line."""
        return {"source": self.file, "unit": self.unit, "number": self.number, "reason": self.explanation}

    @property
    def explanation(self) -> str:
        """The reason with its detail."""
        return f"{self.reason} ({self.detail})" if self.detail else self.reason
