"""The limit on lines that clients cause."""

from __future__ import annotations

import logging

import pytest

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


def test_lines_that_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that would be dropped are known before their records exist, and counted."""
    limit = LogLimit()
    monkeypatch.setattr("sentiment_conv1d.server.log_limit.time", lambda: 1.5)
    for _ in range(LINES):
        assert not limit.drops()
        limit.filter(logging.makeLogRecord({"created": 1.5, "levelno": logging.WARNING}))
    assert limit.drops() and limit.drops()
    monkeypatch.setattr("sentiment_conv1d.server.log_limit.time", lambda: 2.0)
    assert not limit.drops()
    record = logging.makeLogRecord({"created": 2.0, "levelno": logging.WARNING})
    assert limit.filter(record) and vars(record)["left_out"] == 2
