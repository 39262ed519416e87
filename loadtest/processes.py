"""Servers to measure, as process trees: starting, stopping, processor time, memory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtest.errors import LoadTestError

PROJECT = Path(__file__).parent.parent
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PATIENCE = 60.0
_LOG_LINES = 20


class Server:
    """One server on ports of its own, from `with` to the end of the block.

    `{port}`, `{ports}` (with commas between them) and `{grpc_port}` in the arguments are replaced. `python` and the
    variables of `environment` replace those of this process. Raises `LoadTestError` if the server does not start.
    """

    def __init__(
        self,
        name: str,
        *arguments: str,
        probe: str = "/",
        ports: int = 1,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._python = python
        self._environment = {**os.environ, **(environment or {})}
        self.ports = [_free_port() for _ in range(ports)]
        self.port = self.ports[0]
        self.grpc_port = _free_port()
        self._probe = probe
        given = {"port": self.port, "ports": ",".join(map(str, self.ports)), "grpc_port": self.grpc_port}
        self.arguments = [argument.format(**given) for argument in arguments]

    def __enter__(self) -> Self:
        started = time.perf_counter()
        self._log = tempfile.TemporaryFile("a+b")
        self._process = subprocess.Popen(  # noqa: S603 - this Python, with arguments of our own
            [self._python, *self.arguments],
            cwd=PROJECT,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C goes to this process, which stops the server in turn
        )
        try:
            while not all(map(self._answers, self.ports)):
                if self._process.poll() is not None or time.perf_counter() - started > _PATIENCE:
                    raise LoadTestError(f"{self.name} did not start: {' '.join(self.arguments)}\n{self.log()}")
                time.sleep(0.005)
        except BaseException:
            self._stop()
            raise
        self.ready_seconds = time.perf_counter() - started
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def log(self) -> str:
        """The last lines that it wrote to its standard error."""
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").splitlines()[-_LOG_LINES:])

    def cpu_seconds(self) -> float:
        """User and system time of all its processes so far."""
        total = 0
        for pid in self._pids():
            with contextlib.suppress(OSError):  # it may have ended since
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total * _TICK

    def pss_megabytes(self) -> list[float]:
        """Proportional set size of each of its processes: memory they share is divided among them."""
        sizes = []
        for pid in self._pids():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        sizes.append(int(line.split()[1]) / 1024)
        return sizes

    def _stop(self) -> None:
        pids = self._pids()
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in pids[1:]:  # not every server stops its own
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._log.close()

    def _pids(self) -> list[int]:
        pids = [self._process.pid]
        for pid in pids:
            with contextlib.suppress(OSError):
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    pids += map(int, (thread / "children").read_text().split())
        return pids

    def _answers(self, port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{self._probe}", timeout=1):
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
