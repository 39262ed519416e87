"""Servers to measure: starts and stops them, and measures the processor time and memory of their process trees."""

from __future__ import annotations

import contextlib
import os
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

import psutil

from loadtest.errors import LoadTestError
from loadtest.measurement.processors import cpu_seconds

PROJECT = Path(__file__).parent.parent
_PATIENCE = 60.0
_LOG_LINES = 20


class Server:
    """A server on free ports, which runs from `with` to the end of the block.

    `{port}`, `{ports}` (separated by commas) and `{grpc_port}` in the arguments are replaced. `python` and the
    variables of `environment` replace those of this process. The server runs in `folder`. Raises `LoadTestError` if it
    does not start.
    """

    def __init__(
        self,
        name: str,
        *arguments: str,
        probe: str = "/",
        ports: int = 1,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        folder: Path = PROJECT,
    ) -> None:
        self.name = name
        self._folder = folder
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
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C reaches only this process, which stops the server
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
        """Return the last lines that the server wrote to standard error."""
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").splitlines()[-_LOG_LINES:])

    def cpu_seconds(self) -> float:
        """Return the user and system time of all processes since their start."""
        return cpu_seconds(self._processes())

    def pss_megabytes(self) -> list[float]:
        """Return the proportional set size of each process, which divides shared memory among the processes."""
        sizes = []
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                sizes.append(process.memory_full_info().pss / 2**20)
        return sizes

    def _stop(self) -> None:
        processes = self._processes()
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in processes[1:]:  # not every server stops its own processes
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._log.close()

    def _processes(self) -> list[psutil.Process]:
        try:
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.Error:
            return []

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
