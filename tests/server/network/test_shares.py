"""Shares: at a limit, the caller that holds most is refused first."""

import logging

import pytest

from sentiment_conv1d.server.network.shares import Shares, overloaded


def test_caller_that_holds_most() -> None:
    """At the limit, only a caller that then holds at most half of what another one holds gets more."""
    shares = Shares()
    shares.change("most", 10)
    assert shares.admits("little", 5, limit=10) and not shares.admits("little", 6, limit=10)
    assert not shares.admits("most", 1, limit=10)
    shares.change("little", 5)
    assert not shares.admits("little", 1, limit=10) and shares.admits("third", 5, limit=10)
    shares.change("most", -10)
    assert shares.admits("little", 5, limit=10) and not shares.admits("little", 6, limit=10)


def test_callers_that_hold_little() -> None:
    """Callers that hold little exceed the limit together, but not twice the limit."""
    shares = Shares()
    shares.change("most", 10)
    for number in range(2):
        assert shares.admits(str(number), 5, limit=10)
        shares.change(str(number), 5)
    assert not shares.admits("another", 1, limit=10)


def test_ranks() -> None:
    """Those that hold most come first, and those that hold nothing are forgotten."""
    shares = Shares()
    for caller, count in (("a", 1), ("b", 3), ("c", 2), ("b", -3)):
        shares.change(caller, count)
    assert shares.ranked() == ["c", "a"] and shares.total == 3


def test_log_of_refusals(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the caller of a refused request, and contains a sample of many refusals."""
    with caplog.at_level(logging.WARNING):
        errors = [overloaded("key nightly", "full") for _ in range(100)]
    assert {error.message for error in errors} == {"full"}
    assert {(record.getMessage(), record.caller) for record in caplog.records} == {  # type: ignore[attr-defined]
        ("rejected a request: full", "key nightly")
    }
    assert len(caplog.records) <= 20
