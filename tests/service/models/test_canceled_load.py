"""Requests to load a model whose callers do not wait for the answer."""

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from sentiment_conv1d.model.artifact import Artifact
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.reconciler import Reconciler
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.version_policy import VersionPolicy
from tests.processes import PATIENCE
from tests.service.artifacts import publish_table
from tests.service.models.test_reconciler import snapshots


class _Waiting(Repository):
    """Waits while it reads a version."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, VersionPolicy("newest:1"))
        self.reading, self.canceled = threading.Event(), threading.Event()
        self.steps: list[str] = []

    def read(self, name: str, version: int) -> Artifact:
        self.steps.append("read")
        self.reading.set()
        assert self.canceled.wait(PATIENCE)
        return super().read(name, version)


class _Workers:
    """Workers that carry out no order."""

    def __init__(self, steps: list[str]) -> None:
        self._steps = steps
        self.asked = asyncio.Event()

    async def ask(self, order: Order, descriptor: int | None = None) -> str:
        self._steps.append(order.action)
        self.asked.set()
        return ""


async def _cancel_load(repository: _Waiting) -> None:
    """Cancel a request while the files are read, send another one, and wait for both."""
    unused: Any = None
    workers = _Workers(repository.steps)
    reconciler = Reconciler(repository, LoadedModels("tickets"), unused, unused, unused, workers)
    first = asyncio.create_task(reconciler.load("tickets"))
    assert await asyncio.to_thread(repository.reading.wait, PATIENCE)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    workers.asked.clear()
    second = asyncio.create_task(reconciler.load("tickets"))
    await workers.asked.wait()
    repository.canceled.set()
    await second


def test_canceled_load(tmp_path: Path) -> None:
    """A canceled request to load a model leaves no files open, and the next one waits for it."""
    publish_table(tmp_path)
    repository = _Waiting(tmp_path)
    asyncio.run(_cancel_load(repository))
    assert repository.steps == ["release", "read", "release", "load", "read", "load"]
    assert snapshots(os.getpid()) == 0
