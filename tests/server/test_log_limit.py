"""The limit on lines that clients cause."""

from __future__ import annotations

import logging

from sentiment_conv1d.server.log_limit import LINES, LogLimit


def test_log_limit() -> None:
    """Some lines per second are logged, and errors. The next line says how many were left out."""
    limit = LogLimit()

    def log(second: int, level: int = logging.WARNING) -> int | None:
        """Return how many lines were left out before a line, or None if it is left out."""
        record = logging.makeLogRecord({"created": float(second), "levelno": level})
        return getattr(record, "left_out", 0) if limit.filter(record) else None

    assert [log(1) for _ in range(LINES + 3)] == [0] * LINES + [None] * 3
    assert log(1, logging.ERROR) == 0
    assert [log(2) for _ in range(LINES + 1)] == [3] + [0] * (LINES - 1) + [None]
    assert log(9, logging.INFO) == 1
