"""Ctrl-C and SIGTERM, which end a command with `KeyboardInterrupt`.

Python raises the exception in whatever code runs when the signal arrives. If that is a destructor or a callback of a
library, the exception is lost. Long computations therefore call `check` regularly.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

_received = False


def handle_signals() -> None:
    """Raise `KeyboardInterrupt` on SIGTERM, and on SIGINT unless it is ignored."""
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
