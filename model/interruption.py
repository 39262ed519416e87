"""Ctrl-C and SIGTERM, which end a command with `KeyboardInterrupt`.

The exception is raised in whatever Python code runs when the signal arrives. If that is a destructor or a callback of a
library, Python discards the exception. Long work therefore calls `check` now and then.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

_received = False


def handle_signals() -> None:
    """Raise `KeyboardInterrupt` at SIGTERM, and at SIGINT unless it is ignored."""
    global _received
    _received = False
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell ignores it for background processes
        signal.signal(signal.SIGINT, _interrupt)


def check() -> None:
    """Raise `KeyboardInterrupt` if a signal has arrived."""
    if _received:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    global _received
    _received = True
    raise KeyboardInterrupt
