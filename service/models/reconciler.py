"""Keeps the loaded models of all workers in step with the model repository and with what callers ask for.

One worker scans the repository. The worker that finds a version to load, by a scan or for a caller of the repository
API, reads it once and sends an order with the files. The supervisor passes the order on to all workers, and the
reconciler of each follows it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple, Protocol

from sentiment_conv1d.model.artifact import ArtifactError
from sentiment_conv1d.service.errors import MAX_MESSAGE_CHARACTERS, Invalid, NotFound, StartupError, Unavailable
from sentiment_conv1d.service.inference.classifier import Classifier
from sentiment_conv1d.service.inference.dataplane import DataPlane
from sentiment_conv1d.service.models import snapshot
from sentiment_conv1d.service.models.index import Entry, index
from sentiment_conv1d.service.models.loaded import LoadedModels, Refusal
from sentiment_conv1d.service.models.replay_log import Fact, Order
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.models.scan import Scan
from sentiment_conv1d.service.models.startup import Open
from sentiment_conv1d.service.models.steps import Drop, Forget, Load, Step, next_step, settle
from sentiment_conv1d.service.telemetry.metrics import Metrics, TooManyModels

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """Why an order was not followed, if it was not."""

    refusal: Order | None = None  # that all workers follow in its place
    declined: str = ""  # why it came too late


class Workers(Protocol):
    """All workers of the service, as one of them sees them."""

    async def ask(self, order: Order, descriptor: int | None = None) -> Outcome:
        """Have all workers follow an order. Raises `Unavailable` while the service shuts down."""


class _Observation(NamedTuple):
    """What was served, and then what was in the repository."""

    served: dict[str, dict[int, str]]
    present: Scan

    def settled(self, now: _Observation, name: str, served: Mapping[int, str]) -> dict[int, str]:
        """The versions of a model that are present after this scan and the next."""
        before = self.present.get(name, {})
        return settle(before, now.present.get(name, {}), served, self.served.get(name, {}))


class Reconciler:
    """One worker's part in what all of them serve: takes `models` towards what the repository holds."""

    def __init__(
        self,
        repository: Repository,
        models: LoadedModels,
        open: Open,
        dataplane: DataPlane,
        metrics: Metrics,
        workers: Workers,
    ) -> None:
        self._repository = repository
        self._models = models
        self._open_artifact = open
        self._dataplane = dataplane
        self._metrics = metrics
        self._workers = workers
        self._prepared: Classifier | None = None
        self._turn = asyncio.Lock()
        self._told: set[str] = set()

    async def load(self, name: str) -> None:
        """Serve the versions that the policy chooses of those on disk now, even if refused or unloaded before.

        Raises `NotFound`, or `Invalid` if a version is refused or the model is unloaded in between.
        """
        observed = await self._scan()
        if name not in observed.present:
            raise NotFound(f"there is no model {name!r} in the repository")
        await self._workers.ask(Order("release", name))

        def present(served: Mapping[int, str]) -> dict[int, str]:
            return observed.settled(observed, name, served)

        if problems := await self._adjust(name, present, again=True):
            raise Invalid(f"model {name!r} cannot be loaded: {'; '.join(problems)}")

    async def unload(self, name: str) -> None:
        """Stop serving a model in all workers; running requests are finished. Raises `NotFound`."""
        name = self._models.get(name).manifest.name
        await self._workers.ask(Order("unload", name))

    async def index(self) -> list[Entry]:
        """Every version in the repository, loaded or not."""
        present = (await self._scan()).present
        return index(present, self._models, self._repository.policy, self._metrics.in_use())

    async def watch(self, interval: float) -> None:
        """Scan the repository every `interval` seconds and follow its changes."""
        before: _Observation | None = None
        while True:
            await asyncio.sleep(interval)
            try:
                before = await self._watch(before)
            except Unavailable as error:
                self._tell({error.message})
            except Exception:
                logger.exception("scanning the model repository failed")

    async def follow(self, order: Order, descriptor: int | None = None) -> Refusal | None:
        """Carry out this worker's part of an order; the descriptor holds the files of its version.

        Returns why the version is refused, if it is.
        """
        name, version = order.name, order.version
        match order.action:
            case "load":
                self._models.loading = (name, version)
            case "prepare":
                assert descriptor is not None
                self._models.loading = (name, version)  # also where this worker is too new to have heard of it
                try:
                    prepared = self._prepared = await asyncio.to_thread(self._open, order, descriptor)
                    prepared.statistics = self._metrics.add_model(prepared.manifest, self._models.keys())
                except ArtifactError as error:
                    return Refusal(order.fingerprint, error.fault, str(error))
                except TooManyModels as error:
                    return Refusal(order.fingerprint, "invalid", str(error))
            case "serve":
                assert self._prepared is not None
                self._models.put(self._prepared, order.fingerprint)
                self._prepared = None
            case "refuse":
                self._prepared = None
                self._models.refuse(name, version, Refusal(order.fingerprint, order.fault, order.reason))
            case "forget":
                self._models.forget(name, version)
            case "drop":
                self._models.drop(name, version)
            case "unload":
                self._models.unload(name)
            case "release":
                self._models.unloaded.discard(name)
        self._dataplane.arrange(self._models)
        return None

    async def catch_up(self, facts: Iterable[Fact]) -> None:
        """Follow what has changed since before the first fork. Raises `StartupError` if it cannot be opened."""
        for order, descriptor in facts:
            if order.action == "serve":
                refusal = await self.follow(order._replace(action="prepare"), descriptor)
                if refusal is not None:
                    raise StartupError(f"version {order.version} of {order.name} cannot be opened: {refusal.reason}")
            await self.follow(order)

    async def _watch(self, before: _Observation | None) -> _Observation | None:
        """One scan, and what follows from it and the one before."""
        try:
            now = await self._scan()
        except Unavailable as error:
            self._tell({f"{error.message}; what is served stays"})
            return before
        if not now.present:
            self._tell({f"{self._repository.path}: no model in it any more; what is served stays"})
            return before
        remarks = set()
        if before is not None:
            default = self._models.default
            for name in sorted(now.present.keys() | before.present.keys() | self._models.names()):
                if name not in self._models.unloaded:
                    await self._adjust(name, partial(before.settled, now, name))
                if name == default and name not in now.present:
                    remarks.add(f"{self._repository.path} holds no model {name!r} any more; what is served stays")
        self._tell(remarks)
        return now

    async def _scan(self) -> _Observation:
        served = {name: self._models.served(name) for name in self._models.names()}
        try:
            return _Observation(served, await asyncio.to_thread(self._repository.scan))
        except OSError as error:
            raise Unavailable(f"{error.filename}: cannot be read ({error.strerror})") from error

    async def _adjust(
        self, name: str, present: Callable[[Mapping[int, str]], Mapping[int, str]], *, again: bool = False
    ) -> list[str]:
        """Take step after step until the right versions of a model are served. Returns what went wrong.

        `present` gives the versions on disk, for those that are served. With `again`, versions that were refused are
        tried once more.
        """
        models = self._models
        problems: list[str] = []
        tried: set[Step] = set()
        async with self._turn:
            while True:
                served, refused = models.served(name), models.refused(name)
                there = present(served)
                if again:
                    untried = {version for version in there if Load(version) not in tried}
                    refused = {version: each for version, each in refused.items() if version not in untried}
                keep = name == models.default
                step = next_step(self._repository.policy, name, there, served, refused, keep=keep)
                if step is None or step in tried:
                    return problems
                tried.add(step)
                match step:
                    case Load(version):
                        problem = await self._load(name, version, there[version])
                        problems += [problem] if problem else []
                    case Drop(version, last):
                        await self._workers.ask(Order("drop", name, version, last=last))
                    case Forget(version):
                        await self._workers.ask(Order("forget", name, version))

    async def _load(self, name: str, version: int, fingerprint: str) -> str:
        """Read a version and make all workers serve it, or refuse it. Returns what went wrong, empty if nothing did."""
        try:
            digest, descriptor = await asyncio.to_thread(self._read, name, version)
        except ArtifactError as error:
            problem = str(error)
            now = await asyncio.to_thread(self._repository.fingerprint, name, version)
            if now == fingerprint:  # else it is being written
                reason = problem[:MAX_MESSAGE_CHARACTERS]
                await self._workers.ask(Order("refuse", name, version, fingerprint, fault=error.fault, reason=reason))
            return problem
        try:
            if digest == self._models.digest(name, version):
                self._models.update_fingerprint(name, version, fingerprint)
                return ""
            outcome = await self._workers.ask(Order("load", name, version, fingerprint, digest), descriptor)
        finally:
            os.close(descriptor)
        return outcome.declined if outcome.refusal is None else outcome.refusal.reason

    def _read(self, name: str, version: int) -> tuple[str, int]:
        """The digest of a version's manifest, and its files in a descriptor. Raises `ArtifactError`."""
        artifact = self._repository.read(name, version)
        return artifact.manifest.manifest_sha256, snapshot.take(artifact.contents)

    def _open(self, order: Order, descriptor: int) -> Classifier:
        artifact = self._repository.verify(order.name, order.version, snapshot.contents(descriptor))
        return self._open_artifact(artifact)

    def _tell(self, remarks: set[str]) -> None:
        """Log the remarks that the scan before did not give."""
        for remark in sorted(remarks - self._told):
            logger.warning(remark)
        self._told = remarks
