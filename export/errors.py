"""What ends an export: a message that names what is at fault, and a hint that says what to do about it."""

from __future__ import annotations

from sentiment_conv1d.model.errors import SentimentError

#: Characters of a message of another library that an error of ours quotes.
_QUOTED = 160


class ExportError(SentimentError):
    """A model that cannot be exported: the message names the layer or file at fault, the hint what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def quoted(error: Exception | str) -> str:
    """The beginning of another library's message, in one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
