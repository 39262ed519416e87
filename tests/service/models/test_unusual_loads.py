"""Loads that do not end as usual: their callers do not wait for the answer, or the files cannot be read."""

import asyncio
import errno
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sentiment_conv1d.model.artifact import Artifact, ArtifactError
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.reconciler import Reconciler
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.models.snapshot import take
from sentiment_conv1d.service.models.startup import choose
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
    """Workers that only refuse versions."""

    def __init__(self, steps: list[str], models: LoadedModels) -> None:
        self.steps = steps
        self._models = models
        self.asked = asyncio.Event()

    async def ask(self, order: Order, descriptor: int | None = None) -> str:
        self.steps.append(order.action)
        if order.action == "refuse":
            self._models.follow(order)
        self.asked.set()
        return ""

    async def update_copies(self, name: str) -> str:
        return ""


class _Failing(Repository):
    """Cannot read version 2 at first, as on a network file system without a connection."""

    tries = 0

    def read(self, name: str, version: int) -> Artifact:
        self.tries += version == 2
        if version == 2 and self.tries < 4:
            cause = OSError(errno.EIO, "Input/output error")
            raise ArtifactError(f"{name}/{version}: cannot be read", "unreadable") from cause
        return super().read(name, version)


async def _watch(repository: Repository, models: LoadedModels) -> list[str]:
    """Watch a repository until a version is loaded. Return the orders."""
    unused: Any = None
    workers = _Workers([], models)
    async with asyncio.timeout(PATIENCE):
        watching = asyncio.create_task(Reconciler(repository, models, unused, unused, unused, workers).watch(0.01))
        while "load" not in workers.steps:
            workers.asked.clear()
            await workers.asked.wait()
        watching.cancel()
    return workers.steps


async def _cancel_load(repository: _Waiting) -> None:
    """Cancel a request while the files are read, send another one, and wait for both."""
    unused: Any = None
    models = LoadedModels("tickets")
    workers = _Workers(repository.steps, models)
    reconciler = Reconciler(repository, models, unused, unused, unused, workers)
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


@pytest.mark.parametrize("at_start", [False, True])
def test_unreadable_for_a_time(tmp_path: Path, at_start: bool) -> None:
    """A version that cannot be read for a time is refused once, also at the start, and loads when it can be read."""
    repository = _Failing(tmp_path, VersionPolicy("newest:1"))
    models = LoadedModels("tickets")

    def admit(artifact: Artifact, fingerprint: str) -> None:
        models.follow(Order("serve", "tickets", artifact.manifest.version, fingerprint), take(artifact.contents))

    for _ in range(1 + at_start):
        publish_table(tmp_path)
    choose(repository, models, admit)
    if not at_start:
        publish_table(tmp_path)
    assert asyncio.run(_watch(repository, models)) == ["refuse", "load"][at_start:]
    models.follow(Order("unload", "tickets"))
