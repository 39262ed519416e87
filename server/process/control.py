"""The part of the supervisor that belongs to the application: what its workers have to agree on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sentiment_conv1d.server.process.worker_process import WorkerProcess


class Control:
    """Handles the messages of workers that the supervisor does not know. Its methods run in the supervisor process.

    By default it does nothing. An application with state that all workers must change together overrides the methods.
    """

    def start(self, workers: Mapping[int, WorkerProcess]) -> None:
        """Called once before the first worker starts, with the running workers by process id, which change later."""

    def received(self, worker: WorkerProcess, message: dict[str, Any], descriptor: int | None) -> None:
        """Handle a message, and close its descriptor."""

    def worker_joined(self) -> None:
        """Called when a worker has reported that it is ready."""

    def worker_lost(self, pid: int) -> None:
        """Called when a worker has ended."""

    def worker_replaced(self, reason: Literal["died", "hung"]) -> None:
        """Called when a worker that died or hung is replaced."""

    def child_ended(self, pid: int, status: int) -> None:
        """Called with the status of `waitpid` when a child process that is no worker has ended."""

    def every_second(self, now: float) -> None:
        """Enforce time limits, and read changed files. Called about once a second with the time of `monotonic`."""

    def stop(self) -> None:
        """Called when the workers leave. End all other child processes."""

    def close(self) -> None:
        """Close the descriptors. A worker calls this after its fork."""
