"""Loads that do not end as usual: their callers do not wait for the answer, or the files cannot be read."""

import asyncio
import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sentiment_conv1d.artifact.artifact import Artifact, ArtifactError
from sentiment_conv1d.service.models import snapshot
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.reconciler import Reconciler
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.models.startup import choose
from sentiment_conv1d.service.process.trial import Trial
from sentiment_conv1d.service.version_policy import VersionPolicy
from tests.processes import PATIENCE
from tests.service.artifacts import publish_table


class _Waiting:
    """Workers that wait while they load a version."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.asked, self.loading, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def ask(self, order: Order) -> str:
        self.steps.append(order.action)
        self.asked.set()
        if order.action == "load":
            self.loading.set()
            await self.cancelled.wait()
            self.steps.append("loaded")
        return ""

    async def update_copies(self, name: str) -> str:
        return ""


class _Trying:
    """A worker that follows what a trial finds, without opening the version."""

    def __init__(self, trial: Trial, models: LoadedModels) -> None:
        self.steps: list[str] = []
        self.served = asyncio.Event()
        self._trial = trial
        self._models = models

    async def ask(self, order: Order) -> str:
        order, descriptor = _tried(self._trial, order)
        self.steps.append(order.action)
        if order.action == "serve":
            self._models.follow(order, descriptor)
            self.served.set()
        else:
            os.close(descriptor)
            self._models.follow(order)
        return order.reason

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


def _tried(trial: Trial, order: Order) -> tuple[Order, int]:
    """Try a version in this process. Return the order that follows, and the descriptor of the files."""
    descriptor = snapshot.create()
    trial.examine(order, descriptor)
    return snapshot.order(descriptor), descriptor


async def _watch(repository: Repository, models: LoadedModels, trial: Trial) -> list[str]:
    """Watch a repository until a version is served. Return the orders."""
    unused: Any = None
    workers = _Trying(trial, models)
    async with asyncio.timeout(PATIENCE):
        watching = asyncio.create_task(Reconciler(repository, models, unused, unused, unused, workers).watch(0.01))
        await workers.served.wait()
        watching.cancel()
    return workers.steps


async def _cancel_load(repository: Repository) -> list[str]:
    """Cancel a request while a version is loaded, send another one, and wait for both. Return the orders."""
    unused: Any = None
    workers = _Waiting()
    reconciler = Reconciler(repository, LoadedModels("tickets"), unused, unused, unused, workers)
    first = asyncio.create_task(reconciler.load("tickets"))
    await workers.loading.wait()
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    workers.asked.clear()
    second = asyncio.create_task(reconciler.load("tickets"))
    await workers.asked.wait()
    workers.cancelled.set()
    await second
    return workers.steps


def test_cancelled_load(tmp_path: Path) -> None:
    """A cancelled request to load a model does not end the load, and the next one waits for it."""
    publish_table(tmp_path)
    steps = asyncio.run(_cancel_load(Repository(tmp_path, VersionPolicy("newest:1"))))
    assert steps == ["release", "load", "release", "loaded", "load", "loaded"]


@pytest.mark.parametrize("at_start", [False, True])
def test_unreadable_for_a_time(tmp_path: Path, at_start: bool) -> None:
    """A version that cannot be read for a time is refused once, also at the start, and loads when it can be read."""
    repository = _Failing(tmp_path, VersionPolicy("newest:1"))
    models = LoadedModels("tickets")
    trial = Trial(repository, models, lambda artifact: None, PATIENCE)

    def admit(order: Order) -> None:
        repository.read(*order.key)
        models.follow(*_tried(trial, order))

    for _ in range(1 + at_start):
        publish_table(tmp_path)
    choose(repository, models, admit)
    if not at_start:
        publish_table(tmp_path)
    steps = asyncio.run(_watch(repository, models, trial))
    assert [step for step in steps if step != "keep"] == ["refuse", "serve"][at_start:]
    models.follow(Order("unload", "tickets"))
