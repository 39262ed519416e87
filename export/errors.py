"""The error that ends an export: a message that names the cause, and a hint that says what to do about it."""

from __future__ import annotations

import re

from sentiment_conv1d.artifact.errors import SentimentError

#: The most characters that an error quotes of another library's message.
_QUOTED = 160

#: How Keras prints a part of a message in bold.
_STYLE = re.compile(r"\x1b\[\d+m")


class ExportError(SentimentError):
    """A model cannot be exported. The message names the layer or file, and the hint says what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def report(self) -> str:
        """The error and its hint as a terminal shows them."""
        return f"{super().report}\nhint: {self.hint}"


def quoted(error: Exception | str) -> str:
    """Return the beginning of another library's message on one line."""
    text = " ".join(_STYLE.sub("", str(error)).split())
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
