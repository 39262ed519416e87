"""Limits the lines that clients can cause in the log."""

from __future__ import annotations

import logging
from time import time

#: Lines per second in one worker.
LINES = 10


class LogLimit(logging.Filter):
    """Drops lines beyond `LINES` per second, except errors. The next line has their number as `left_out`."""

    def __init__(self) -> None:
        super().__init__()
        self._second = self._lines = self._left_out = 0

    def drops(self) -> bool:
        """Return whether a line would be dropped now, and count it if so. A record costs more than this call."""
        full = self._lines == LINES and int(time()) == self._second
        self._left_out += full
        return full

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record."""
        if record.levelno >= logging.ERROR:
            return True
        if (second := int(record.created)) != self._second:
            self._second, self._lines = second, 0
        if self._lines == LINES:
            self._left_out += 1
            return False
        self._lines += 1
        if self._left_out:
            vars(record)["left_out"], self._left_out = self._left_out, 0
        return True
