"""Signals interrupt a command even if the exception of the handler is lost."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytest

from sentiment_conv1d.model.interruption import check, handle_signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore the signal handlers of the test process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    handle_signals()  # forgets the signals of the test
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_lost_exception(number: signal.Signals) -> None:
    """After a signal, the next check raises, even if the first exception was lost."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    handle_signals()
    check()
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt):
        check()


def test_ignored_signal() -> None:
    """Ctrl-C stays ignored if a shell started the command in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handle_signals()
    signal.raise_signal(signal.SIGINT)
    check()
