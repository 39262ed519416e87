"""Threads that call a server while a test changes something."""

from __future__ import annotations

import threading
from typing import Self

from tests.processes import PATIENCE


class Callers:
    """Runs `_callers` inside a `with` block. Subclasses create the threads, which end when `_over` is set."""

    _callers: list[threading.Thread]

    def __init__(self) -> None:
        self._over = threading.Event()

    def __enter__(self) -> Self:
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for caller in self._callers:
            caller.join(PATIENCE)
