"""Reads children, connections and memory of processes from Linux's /proc."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.processes import eventually


def children(pid: int) -> list[int]:
    """Return the running children of a process, which are the workers of a service."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def kill_children(pid: int) -> None:
    """Kill all children of a process, and wait until it has noticed. Before that, they could take connections along."""
    killed = children(pid)
    for child in killed:
        os.kill(child, signal.SIGKILL)
    eventually(lambda: not set(killed) & set(children(pid)))


def established(port: int) -> list[str]:
    """Return the inodes of all established connections to a port, with "0" for one that is not accepted yet."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [each[9] for each in lines if int(each[1].rpartition(":")[2], 16) == port and each[3] == "01"]


def connections(pid: int, port: int) -> int:
    """Return the number of established connections of a process on a port."""
    return len(sockets(pid).intersection(established(port)))


def sockets(pid: int) -> set[str]:
    """Return the inodes of all sockets of a process."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if inode := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())):
                found.add(inode[1])
    return found


def processor_seconds(pid: int) -> float:
    """Return the processor time that the threads of a process have used."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def anonymous_megabytes(processes: Iterable[int]) -> float:
    """Return the memory of processes that is not backed by files. A process that has ended has none."""
    total = 0.0
    for pid in processes:
        with suppress(OSError):
            total += _megabytes(pid, "status", "RssAnon:", "RssShmem:")
    return total


def proportional_megabytes(supervisor: int, *fields: str) -> float:
    """Return the memory of a service, with shared pages divided among the processes that share them.

    `fields` are those of smaps_rollup: `Pss:` for all memory, `Pss_Anon:` and `Pss_Shmem:` without files.
    """
    return sum(_megabytes(pid, "smaps_rollup", *fields) for pid in (supervisor, *children(supervisor)))


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    return _megabytes(pid, "status", "VmRSS:")


def peak_megabytes(pid: int) -> float:
    """Return the largest resident memory that a process has had."""
    return _megabytes(pid, "status", "VmHWM:")


def _megabytes(pid: int, file: str, *fields: str) -> float:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(fields)) / 1024


class Peak:
    """Records the largest memory in a `with` block, in megabytes."""

    def __init__(self, measure: Callable[[], float], *, seconds: float = 0.01) -> None:
        self._measure = measure
        self._seconds = seconds  # between two measurements
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = self.megabytes = measure()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._seconds):
            self.megabytes = max(self.megabytes, self._measure())
