"""Keeps the loaded models of all workers in sync with the model repository and with administration requests.

One worker scans the repository. The worker that finds a version to load, in a scan or for a request of the repository
API, sends an order. The supervisor lets a process of its own read and open the files. Then it forwards the order with
the files to all workers, and the reconciler of each worker carries it out.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

from sentiment_conv1d.artifact.artifact import ArtifactError
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.server.errors import Overloaded, Unavailable
from sentiment_conv1d.service.errors import Invalid, NotFound
from sentiment_conv1d.service.models import snapshot
from sentiment_conv1d.service.models.index import Entry, index
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.repository import Repository, Scan
from sentiment_conv1d.service.models.startup import Open
from sentiment_conv1d.service.models.steps import Versions, next_step, settle
from sentiment_conv1d.service.scheduling.dataplane import DataPlane
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.telemetry.metrics import CAPACITY, Metrics
from sentiment_conv1d.service.telemetry.statistics import Key
from sentiment_conv1d.service.version_labels import DEFAULT, Labels, check_labels

logger = logging.getLogger(__name__)

#: The most calls that list the repository at the same time. Each scans it on a thread, which slows the event loop down.
_MAX_INDEXING = 4


class Workers(Protocol):
    """The interface to all workers of the service."""

    async def ask(self, order: Order) -> str:
        """Let all workers carry out an order, and return why they did not, if so. Raises `Unavailable` at shutdown."""

    async def update_copies(self, name: str) -> str:
        """Update the copies of a store, also of the bad versions of a model, and return why that failed, if so."""


class _Observation(NamedTuple):
    """What was served, and what the scan after it found in the repository."""

    served: dict[str, dict[int, str]]
    present: Scan


@dataclass(eq=False)
class Reconciler:
    """Brings the models of one worker in line with the repository."""

    _repository: Repository
    _models: LoadedModels
    _open_artifact: Open
    _dataplane: DataPlane
    _metrics: Metrics
    _workers: Workers
    _prepared: ServedClassifier | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _indexing: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, _MAX_INDEXING))
    _told: set[str] = field(default_factory=set)

    async def load(self, name: str) -> None:
        """Serve the versions on disk that the policy selects, even if they were refused or unloaded before.

        A repository in a store is listed and copied first. Raises `Unavailable` if that fails, `NotFound`, or `Invalid`
        if a version is refused or the model is unloaded meanwhile.
        """
        if self._repository.copied and (problem := await self._workers.update_copies(name)):
            raise Unavailable(problem)
        observed = await self._scan()
        if name not in observed.present:
            raise NotFound(f"there is no model {name!r} in the repository")
        await self._workers.ask(Order("release", name))
        if problems := await self._adjust(name, observed, observed, again=True):
            raise Invalid(f"model {name!r} cannot be loaded: {'; '.join(problems)}")

    async def unload(self, name: str) -> None:
        """Stop serving a model in all workers. Requests in progress are finished. Raises `NotFound`."""
        await self._workers.ask(Order("unload", self._models.name_of(name)))

    async def label(self, name: str, labels: Labels) -> None:
        """Replace the labels of a model's versions in all workers.

        Raises `NotFound` if a version is not served, or `Invalid` if a label is wrong, or a version was dropped
        meanwhile.
        """
        try:
            check_labels(labels)
        except ValueError as error:
            raise Invalid(str(error)) from None
        for version in labels.values():
            self._models.get(name, str(version))
        if problem := await self._workers.ask(Order("label", name, version_labels=labels)):
            raise Invalid(problem)

    async def index(self) -> list[Entry]:
        """Return every version in the repository, loaded or not. Raises `Overloaded` if many calls wait for it."""
        if self._indexing.locked():
            raise Overloaded(f"{_MAX_INDEXING} calls already list the repository")
        async with self._indexing:
            present = (await self._scan()).present
            return index(present, self._models, self._repository.policy, self._metrics.in_use())

    async def watch(self, interval: float) -> None:
        """Scan the repository every `interval` seconds and apply its changes."""
        before: _Observation | None = None
        while True:
            await asyncio.sleep(interval)
            try:
                before = await self._watch(before)
            except Unavailable as error:
                self._tell({f"{error.message}; the served versions stay"})
            except Exception:
                logger.exception("scanning the model repository failed")

    async def follow(self, order: Order, descriptor: int | None = None) -> Order | None:
        """Carry out an order in this worker. The descriptor refers to the files of its version.

        Returns None, or the order to refuse the version if it cannot be served.
        """
        self._models.follow(order)
        match order.action:
            case "prepare":
                try:
                    assert descriptor is not None
                    self._prepared = await self._open(order.key, descriptor)
                except ArtifactError as error:
                    return order.refusal(error.fault, str(error))
            case "serve":
                assert self._prepared is not None
                self._metrics.add_model(order.key, order.labels or (), order.block)
                self._prepared.count(self._metrics)
                self._models.put(self._prepared, order.fingerprint)
                self._prepared = None
            case "refuse":
                self._prepared = None
        self._dataplane.serve(self._models)
        return None

    async def catch_up(self) -> None:
        """Open the versions that were loaded before the fork. Raises `ArtifactError` if one cannot be opened."""
        for key, fingerprint, descriptor in self._models.unopened():
            classifier = await self._open(key, descriptor)
            classifier.count(self._metrics)
            self._models.put(classifier, fingerprint)
        self._dataplane.serve(self._models)

    async def _watch(self, before: _Observation | None) -> _Observation:
        """Scan once, and apply what this scan and the one before agree on. Raises `Unavailable`."""
        now = await self._scan()
        if not now.present:
            raise Unavailable(f"{self._repository.path} contains no model any more")
        remarks = set(map(str, self._models.missing()))
        if before is not None:
            for name in sorted(now.present.keys() | before.present.keys() | self._models.names()):
                if name not in self._models.unloaded:
                    await self._adjust(name, before, now)
                remarks |= self._kept(name, now)
        self._tell(remarks)
        return now

    def _kept(self, name: str, now: _Observation) -> set[str]:
        """Describe what stays served although it is not in the repository any more."""
        models, path, present = self._models, self._repository.path, now.present.get(name, {})
        if name == models.default and not present:
            return {f"{path} contains no model {name!r} any more; the served versions stay"}
        version = models.default_version(name)
        if version in models.served(name).keys() - present.keys():
            return {f"{path} contains no version {version} of {name!r} any more; it stays for its label {DEFAULT!r}"}
        return set()

    async def _scan(self) -> _Observation:
        served = {name: self._models.served(name) for name in self._models.names()}
        try:
            return _Observation(served, await asyncio.to_thread(self._repository.scan))
        except OSError as error:
            raise Unavailable(f"{error.filename}: cannot be read ({error.strerror})") from error

    async def _adjust(self, name: str, before: _Observation, now: _Observation, *, again: bool = False) -> list[str]:
        """Take steps until the versions of a model that two scans agree on are served. Returns the errors.

        With `again`, refused versions are tried once more.
        """
        await self._turn.acquire()
        steps = asyncio.create_task(self._take_steps(name, before, now, again=again))
        steps.add_done_callback(lambda _: self._turn.release())
        # A caller can cancel its request. If others could begin, each repeated request would add a load to those that
        # wait.
        return await asyncio.shield(steps)

    async def _take_steps(self, name: str, before: _Observation, now: _Observation, *, again: bool) -> list[str]:
        problems: list[str] = []
        failed: dict[int, str] = {}  # in these steps, with the fingerprints of the files
        tried: set[Order] = set()
        while (step := self._next_step(name, before, now, failed, again=again)) is not None and step not in tried:
            tried.add(step)
            if step.action == "refuse":
                problems.append(await self._refuse(step))
            elif (problem := await self._workers.ask(step)) and step.action == "load":
                problems.append(problem)
                if self._models.refusal(step.key) is None:  # another version would fail for the same reason
                    break
                failed[step.version] = step.fingerprint
        return problems

    def _next_step(
        self, name: str, before: _Observation, now: _Observation, failed: dict[int, str], *, again: bool
    ) -> Order | None:
        """Return the next step for a model. The versions that have `failed` are not tried again."""
        models = self._models
        served = models.served(name)
        present = settle(before.present.get(name, {}), now.present.get(name, {}), served, before.served.get(name, {}))
        forgiven = present.keys() if again else set()
        refused = {version: files for version, files in models.refused(name).items() if version not in forgiven}
        versions = Versions(
            name,
            present,
            served,
            refused | failed,
            models.deferred(name) - forgiven - failed.keys(),
            models.default_version(name),
            keep=name == models.default,
            room=models.room,
        )
        return next_step(self._repository.policy, versions)

    async def _refuse(self, refusal: Order) -> str:
        """Let all workers refuse a version, once for the same reason. Returns the reason."""
        if refusal != self._models.refusal(refusal.key):
            await self._workers.ask(refusal)
        return refusal.reason

    async def _open(self, key: Key, descriptor: int) -> ServedClassifier:
        """Open the version in the files of a descriptor. Raises `ArtifactError`."""
        if len(self._models.keys() - {key}) >= CAPACITY:
            raise ArtifactError(f"{CAPACITY} versions are served at once", "full")
        return ServedClassifier(await asyncio.to_thread(self._open_files, key, descriptor))

    def _open_files(self, key: Key, descriptor: int) -> Classifier:
        return self._open_artifact(self._repository.verify(*key, snapshot.contents(descriptor)))

    def _tell(self, remarks: set[str]) -> None:
        """Log the remarks that the previous scan did not have."""
        for remark in sorted(remarks - self._told):
            logger.warning(remark)
        self._told = remarks
