"""The loaded models: requests look up the classifier of a version here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sentiment_conv1d.artifact.limits import MAX_MODELS
from sentiment_conv1d.server.errors import RequestError, Unavailable
from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.telemetry.metrics import ModelState
from sentiment_conv1d.service.telemetry.statistics import Key
from sentiment_conv1d.service.version_labels import DEFAULT, LabelledVersion, Labels

#: The faults of versions that may be served later although their files do not change.
_PASSING = ("full", "unreadable")


class _Served(NamedTuple):
    """A version that is served. A process that has not opened it has a descriptor of its files instead."""

    fingerprint: str
    digest: str
    classifier: ServedClassifier | None = None
    descriptor: int | None = None


class Unopened(NamedTuple):
    """A version that other processes serve, and that this one still has to open."""

    key: Key
    fingerprint: str
    descriptor: int


class LoadedModels:
    """The versions that are served, and those that were refused.

    An empty name stands for the default model. A version is named by its number or by a label. An empty version stands
    for the one with the label `default`, or, if the model has no such label, for the newest one that is served. While
    the version with the label `default` is not served, no other one takes its place.

    The supervisor follows the orders too, without opening versions. Workers that it forks later open those versions.
    """

    def __init__(self, default: str | None = None, labels: Mapping[str, Labels] | None = None) -> None:
        self.default = default
        self.unloaded: set[str] = set()
        self.loading: Key | None = None  # the version that the workers are opening
        self._served: dict[Key, _Served] = {}
        self._refusals: dict[Key, Order] = {}
        self._labels = dict(labels or {})
        self._table: dict[tuple[str, str], ServedClassifier] = {}  # by all names and versions of requests
        self._index_names()

    def get(self, name: str = "", version: str = "") -> ServedClassifier:
        """Return the classifier of a version.

        Raises `NotFound`, or `Unavailable` if the version with the label `default` is not served.
        """
        classifier = self._table.get((name, version))
        if classifier is None:
            raise self._absence(name or self.default or "", version)
        return classifier

    def holds(self, name: str = "", version: str = "") -> bool:
        """Return whether a version is served."""
        return (name, version) in self._table

    def select(self, name: str = "", version: str = "") -> list[ServedClassifier]:
        """Return one version, all versions of a model, or all versions of all models. Raises `NotFound`."""
        if not name:
            return list(self)
        if version:
            return [self.get(name, version)]
        name = self.name_of(name)
        return [each for each in self if each.manifest.name == name]

    def name_of(self, name: str) -> str:
        """Return the name of a model of which any version is served. Raises `NotFound`."""
        name = name or self.default or ""
        if not self.served(name):
            raise self._not_found(name)
        return name

    def __iter__(self) -> Iterator[ServedClassifier]:
        """Iterate over the classifiers by name, the newest version first."""
        opened = self._opened()
        return iter([opened[key] for key in sorted(opened, key=lambda key: (key[0], -key[1]))])

    @property
    def room(self) -> int:
        """How many more versions can be served; negative for a moment while versions are replaced."""
        return MAX_MODELS - len(self._served)

    def keys(self) -> set[Key]:
        """Return the names and versions that are served."""
        return set(self._served)

    def names(self) -> set[str]:
        """Return the names of models with a version that is served or was refused."""
        return {name for name, _ in (*self._served, *self._refusals)}

    def versions(self, name: str) -> list[int]:
        """Return the versions of a model that are served, oldest first."""
        return sorted(self.served(name))

    def served(self, name: str) -> dict[int, str]:
        """Return the versions of a model that are served, with the fingerprints of their files."""
        return {version: each.fingerprint for (model, version), each in self._served.items() if model == name}

    def refusal(self, key: Key) -> Order | None:
        """Return the order that refused a version, if it is refused."""
        return self._refusals.get(key)

    def refused(self, name: str) -> dict[int, str]:
        """Return the versions of a model that are refused until their files change, with the fingerprints of these."""
        refusals = self._refusals_of(name).items()
        return {version: each.fingerprint for version, each in refusals if each.fault not in _PASSING}

    def deferred(self, name: str) -> set[int]:
        """Return the versions of a model that lacked room or could not be read, so that every scan tries them again."""
        return {version for version, each in self._refusals_of(name).items() if each.fault in _PASSING}

    def digest(self, name: str, version: int) -> str:
        """Return the digest of the manifest of a version, or an empty string if it is not served."""
        served = self._served.get((name, version))
        return "" if served is None else served.digest

    def unopened(self) -> list[Unopened]:
        """Return the versions that this process has to open before it serves the same ones as the others."""
        served = self._served.items()
        return [Unopened(key, each.fingerprint, each.descriptor) for key, each in served if each.descriptor is not None]

    def labels(self, name: str) -> Labels:
        """Return the versions of a model that have labels, by label."""
        return self._labels.get(name, {})

    def default_version(self, name: str) -> int | None:
        """Return the version with the label `default`, or None if the model has no such label."""
        return self.labels(name).get(DEFAULT)

    def labelled(self) -> list[LabelledVersion]:
        """Return all versions that have labels, except those of models that were unloaded."""
        return [
            LabelledVersion(name, version, label, (name, version) in self._served)
            for name, labels in self._labels.items()
            if name not in self.unloaded
            for label, version in labels.items()
        ]

    def missing(self) -> list[LabelledVersion]:
        """Return the versions that have labels and are not served. A model that was unloaded lacks none."""
        return [each for each in self.labelled() if not each.served]

    def check_ready(self) -> None:
        """Raise `Unavailable` if a version with the label `default` is not served, or the default model cannot answer.

        A model that was unloaded lacks no version.
        """
        for name in self._labels.keys() - self.unloaded:
            if (missing := self._missing_default(name)) is not None:
                raise Unavailable(str(missing))
        try:
            self.get()
        except RequestError as error:
            raise Unavailable(error.message) from None

    def labels_of(self, name: str, version: int) -> list[str]:
        """Return the labels of a version."""
        return sorted(label for label, each in self.labels(name).items() if each == version)

    def states(self, name: str = "") -> list[ModelState]:
        """Return the state of every version that is served or was refused, of one model or of all."""
        states = []
        for key in sorted(self._served.keys() | self._refusals.keys()):
            if name in ("", key[0]):
                refusal = self._refusals.get(key)
                fault, reason = ("", "") if refusal is None else (refusal.fault, refusal.reason)
                states.append(ModelState(*key, key in self._served, fault, reason))
        return states

    def put(self, classifier: ServedClassifier, fingerprint: str = "") -> None:
        """Serve a classifier. Requests in progress keep the one they have."""
        manifest = classifier.manifest
        key = manifest.name, manifest.version
        self._discard(key)
        self._served[key] = _Served(fingerprint, manifest.manifest_sha256, classifier)
        self._index_names()

    def objection(self, order: Order) -> str:
        """Return why an order must not be carried out, which its sender could not know; empty if it may be."""
        match order.action:
            case "load" if order.name in self.unloaded:  # a `release` has to come first
                return f"model {order.name!r} was unloaded"
            case "drop" if order.version == self.default_version(order.name):
                return f"version {order.version} of model {order.name!r} has the label {DEFAULT!r}"
            case "drop" if not order.last and not self.served(order.name).keys() - {order.version}:
                return f"nothing else of model {order.name!r} is served"
            case "label":
                for version in (order.version_labels or {}).values():
                    if (order.name, version) not in self._served:
                        return f"version {version} of model {order.name!r} is not loaded"
        return ""

    def follow(self, order: Order, descriptor: int | None = None) -> None:
        """Carry out an order. Requests in progress keep the classifier they have.

        `put` does the rest of a `serve`, unless there is a descriptor of the files, for workers that are forked later.
        It is closed when they no longer need it.
        """
        self.loading = order.key if order.action in ("load", "prepare") else None
        match order.action:
            case "refuse":
                self._refusals[order.key] = order
            case "serve" | "forget":
                self._refusals.pop(order.key, None)
            case "keep" if not order.reason and order.key in self._served:
                self._served[order.key] = self._served[order.key]._replace(fingerprint=order.fingerprint)
            case "drop":
                self._discard(order.key)
            case "unload":
                self.unloaded.add(order.name)
                for version in self.versions(order.name):
                    self._discard((order.name, version))
            case "release":
                self.unloaded.discard(order.name)
            case "label":
                self._labels[order.name] = order.version_labels or {}
        if descriptor is not None:
            self._discard(order.key)
            self._served[order.key] = _Served(order.fingerprint, order.digest, descriptor=descriptor)
        self._index_names()

    def _discard(self, key: Key) -> None:
        if (served := self._served.pop(key, None)) is not None and served.descriptor is not None:
            os.close(served.descriptor)

    def _refusals_of(self, name: str) -> dict[int, Order]:
        return {version: each for (model, version), each in self._refusals.items() if model == name}

    def _opened(self) -> dict[Key, ServedClassifier]:
        return {key: each.classifier for key, each in self._served.items() if each.classifier is not None}

    def _missing_default(self, name: str) -> LabelledVersion | None:
        """Return the version with the label `default` if this process has not opened it."""
        version = self.default_version(name)
        if version is None or self.holds(name, str(version)):
            return None
        return LabelledVersion(name, version, DEFAULT, served=False)

    def _index_names(self) -> None:
        """Index the versions that this process has opened by all names and versions that requests can have."""
        opened = self._opened()
        newest: dict[str, int] = {}
        for name, version in opened:
            newest[name] = max(version, newest.get(name, version))
        named = {(name, str(version)): (name, version) for name, version in opened}
        for name in newest:
            labels = self.labels(name)
            named |= {(name, label): (name, version) for label, version in labels.items()}
            named[name, ""] = name, labels.get(DEFAULT, newest[name])
        named |= {("", version): key for (name, version), key in named.items() if name == self.default}
        self._table = {name: opened[key] for name, key in named.items() if key in opened}

    def _absence(self, name: str, version: str) -> RequestError:
        """Return the error of a request for a model or a version that cannot answer it."""
        if not version and self.served(name) and (missing := self._missing_default(name)) is not None:
            return Unavailable(f"{missing}; requests that name a version are answered")
        return self._not_found(name, version)

    def _not_found(self, name: str, version: str = "") -> NotFound:
        versions = self.versions(name)
        if name in self.unloaded:
            load = f"POST /v2/repository/models/{name}/load or gRPC's RepositoryModelLoad serves it again"
            return NotFound(f"model {name!r} was unloaded; {load}")
        if not versions:
            names = sorted({name for name, _ in self._served})
            return NotFound(f"there is no model {name!r}; loaded: {', '.join(names) or 'none'}")
        loaded = ", ".join(self._with_labels(name, each) for each in versions)
        labelled = self.labels(name).get(version)
        named = f"version {version!r}" if labelled is None else f"version {labelled}, labelled {version!r},"
        return NotFound(f"{named} of model {name!r} is not loaded; loaded: {loaded}")

    def _with_labels(self, name: str, version: int) -> str:
        labels = ", ".join(self.labels_of(name, version))
        return f"{version} ({labels})" if labels else str(version)
