"""The lines of a UTF-8 file."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from sentiment_conv1d.model.tables.faults import DataError
from sentiment_conv1d.model.tables.files import READ_ERRORS


class Lines(Iterator[str]):
    """The lines of a file, including their ends. Only LF ends a line, unlike with `str.splitlines`.

    A line that is not UTF-8 is returned with replacement characters, and `take_damage` says where it is damaged. Raises
    `DataError` if the file cannot be read.
    """

    def __init__(self, source: Path | str, file: BufferedReader) -> None:
        self.source = source
        self.number = 0  # of the last line that was read
        self.bytes = 0  # read so far
        self._file = file
        self._damage = ""
        try:
            if file.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):
                self.bytes += len(file.read(len(codecs.BOM_UTF8)))
        except READ_ERRORS as error:
            raise self._unreadable(error) from error

    def __next__(self) -> str:
        try:
            line = self._file.readline()
        except READ_ERRORS as error:
            raise self._unreadable(error) from error
        if not line:
            raise StopIteration
        self.number += 1
        self.bytes += len(line)
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            self._damage = self._damage or f"byte 0x{line[error.start]:02x} at {error.start + 1}"
            return line.decode(errors="replace")

    def take_damage(self) -> str:
        """Return the first byte that is not UTF-8 in the lines since the last call; an empty string if all are."""
        damage, self._damage = self._damage, ""
        return damage

    def place(self, number: int) -> str:
        """Return the place of a line, for a message."""
        return f"{self.source}: line {number}"

    def _unreadable(self, error: Exception) -> DataError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        where = f" after line {self.number}" if self.number else ""
        return DataError(f"{self.source}: cannot be read{where} ({reason})")
