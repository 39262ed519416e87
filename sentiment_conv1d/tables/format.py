"""What a file does not say about itself, and the flags that state it."""

from __future__ import annotations

import argparse
from typing import NamedTuple


class Format(NamedTuple):
    """How a text file is written; None is detected."""

    delimiter: str | None = None  # of CSV
    encoding: str | None = None  # of all text formats


def add_format_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags of a command that reads tables."""
    command.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="CHARACTER",
        help="what separates the fields of a CSV file (default: what its header shows)",
    )
    command.add_argument(
        "--encoding",
        metavar="NAME",
        help="encoding of text files, for example cp1252 (default: that of a byte order mark, or UTF-8)",
    )


def read_format(options: argparse.Namespace) -> Format:
    """Return the delimiter and the encoding that the flags state."""
    return Format(options.delimiter, options.encoding)


def _delimiter(text: str) -> str:
    delimiter = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise argparse.ArgumentTypeError(f"{text!r} is not a single character, and not the word tab")
    return delimiter
