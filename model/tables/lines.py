"""The lines of a UTF-8 file."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from sentiment_conv1d.model.tables.errors import DataError


class Lines(Iterator[str]):
    """Each line with its end. LF alone ends one, not the dozen characters at which `str.splitlines` cuts.

    Raises `DataError` at a line that is not UTF-8 or cannot be read.
    """

    def __init__(self, source: Path | str, file: BufferedReader) -> None:
        self.source = source
        self.number = 0  # of the last line that was read
        self.bytes = 0  # read so far
        self._file = file
        if file.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):
            self.bytes += len(file.read(len(codecs.BOM_UTF8)))

    def __next__(self) -> str:
        try:
            line = self._file.readline()
        except OSError as error:
            raise DataError(f"{self.source}: cannot be read ({error.strerror or error})") from error
        if not line:
            raise StopIteration
        self.number += 1
        self.bytes += len(line)
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            reason = f"byte 0x{line[error.start]:02x} at {error.start + 1}"
            raise DataError(f"{self.place(self.number)}: not UTF-8 ({reason})") from error

    def place(self, number: int) -> str:
        """A line, for a message."""
        return f"{self.source}: line {number}"
