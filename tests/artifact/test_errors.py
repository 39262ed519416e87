"""Errors are shown on one line."""

import pytest

from sentiment_conv1d.artifact.errors import SentimentError


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("a\nb\t c.csv: is empty", "a b c.csv: is empty"),
        ("\x1b[31mred.csv", r"\x1b[31mred.csv"),
        ("\u202egpj.csv", r"\u202egpj.csv"),
        ("caf\u00e9-\udcff.csv", r"café-\udcff.csv"),
        (r"C:\new", r"C:\new"),
    ],
)
def test_report(message: str, shown: str) -> None:
    """Line breaks become spaces, control characters are escaped, and all other characters stay."""
    assert SentimentError(message).report == f"error: {shown}"
