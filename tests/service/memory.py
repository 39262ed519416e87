"""The memory of a running service."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.service.process.test_supervisor import children

MEGABYTE = 1024 * 1024


def held(pid: int) -> int:
    """Return the bytes of a process, including its share of shared pages."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    [pss] = [line for line in lines if line.startswith("Pss:")]
    return int(pss.split()[1]) * 1024


class Peak:
    """The peak memory of a service and its workers in a `with` block."""

    def __init__(self, supervisor: int) -> None:
        self._pids = [supervisor, *children(supervisor)]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.before = self.bytes = self._held()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _held(self) -> int:
        return sum(map(held, self._pids))

    def _look(self) -> None:
        while not self._done.wait(0.01):
            self.bytes = max(self.bytes, self._held())
