"""Servers to measure, as process trees: their start, their processor time, their memory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

PROJECT = Path(__file__).parent.parent
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PATIENCE = 60.0


class Server:
    """One server on a port of its own, from `with` to the end of the block."""

    def __init__(self, name: str, *arguments: str, probe: str = "/") -> None:
        self.name = name
        self.port = _free_port()
        self.grpc_port = _free_port()
        self._probe = probe
        self._arguments = [argument.format(port=self.port, grpc_port=self.grpc_port) for argument in arguments]

    def __enter__(self) -> Self:
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, *self._arguments],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() - started > _PATIENCE:
                raise SystemExit(f"{self.name} did not start: {' '.join(self._arguments)}")
            time.sleep(0.005)
        self.ready_seconds = time.perf_counter() - started
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def cpu_seconds(self) -> float:
        """User and system time of all its processes so far."""
        total = 0
        for pid in self._pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total * _TICK

    def pss_megabytes(self) -> list[float]:
        """Proportional set size of each of its processes: memory they share is divided among them."""
        sizes = []
        for pid in self._pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    sizes.append(int(line.split()[1]) / 1024)
        return sizes

    def _pids(self) -> list[int]:
        pids = [self._process.pid]
        for pid in pids:
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return pids

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self._probe}", timeout=1):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
