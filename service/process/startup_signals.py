"""SIGTERM and SIGINT before the service is ready: it exits with status 0."""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

logger = logging.getLogger(__name__)


class StartupSignals:
    """Ends the start of the service at SIGTERM or SIGINT. By default, the first process of a container ignores SIGTERM.

    An exception ends it, so that files and child processes are cleaned up. But Python drops exceptions in some places,
    for example in callbacks of weak references and in type checks of libraries, so `check` has to follow.
    """

    def __init__(self) -> None:
        self._received = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def check(self) -> None:
        """End the start if a signal has arrived and its exception was dropped."""
        if self._received:
            sys.exit(0)

    def _stop(self, number: int, frame: FrameType | None) -> NoReturn:
        self._received = True
        sys.unraisablehook = lambda _: None  # would print the exception if Python drops it
        _log(number)
        sys.exit(0)


def end_at_once() -> None:
    """End this process at SIGTERM or SIGINT, until `StartupSignals` replaces this.

    For imports, which drop exceptions or raise others in their place. Nothing has to be cleaned up yet.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the parent can have blocked them


def _end(number: int, frame: FrameType | None) -> NoReturn:
    _log(number)
    os._exit(0)


def _log(number: int) -> None:
    logger.info("received %s before the service was ready", signal.Signals(number).name)
