"""Ctrl-C and SIGTERM, which end a command with `KeyboardInterrupt`, so that it cleans up.

Python raises the exception in whatever code runs when the signal arrives. If that is a destructor or a callback of a
library, the exception is lost. Long computations therefore call `check` regularly.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from sentiment_conv1d.commands.startup import end_at_once

#: The signals that end a command.
ENDING = (signal.SIGINT, signal.SIGTERM)

_received: int | None = None


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` on Ctrl-C and SIGTERM in the block, unless they are ignored or have other handlers."""
    global _received
    _received = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler in (signal.SIG_DFL, signal.default_int_handler, end_at_once):
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is interrupt:
                # Nobody may say that nothing was written once the command is over.
                signal.signal(number, signal.SIG_DFL if handler is end_at_once else handler)


def check() -> None:
    """Raise `KeyboardInterrupt` if a signal has arrived."""
    if _received is not None:
        raise KeyboardInterrupt


def terminated() -> bool:
    """Return whether SIGTERM ends the command."""
    return _received == signal.SIGTERM


@contextmanager
def left_to_this_process() -> Iterator[None]:
    """Block the signals in processes that start in the block: this process handles them, and ends the others."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Raise `KeyboardInterrupt` as the handler of a signal. A second SIGTERM, as `timeout` sends it, is ignored."""
    global _received
    _received = number
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
