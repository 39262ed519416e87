"""The models that are loaded: a classifier for every version that is served, which requests look up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.inference.classifier import Classifier

Kept = TypeVar("Kept")


class Refusal(NamedTuple):
    """Why a version is not served, or not what lies in its place now."""

    fingerprint: str
    fault: str  # in one word
    reason: str


class State(NamedTuple):
    """Whether a version is served, and why it was refused; both if what is served is no longer what lies on disk."""

    name: str
    version: int
    served: bool
    refusal: Refusal | None

    @property
    def fault(self) -> str:
        """Why it was refused, in one word; empty if it was not."""
        return "" if self.refusal is None else self.refusal.fault


class _Served(NamedTuple):
    classifier: Classifier
    fingerprint: str


class LoadedModels:
    """The versions of models that are served, and those that were refused.

    An empty name stands for the default model and an empty version for the newest one that is served, as clients send
    them.
    """

    def __init__(self, default: str | None = None) -> None:
        self.default = default
        self.unloaded: set[str] = set()
        self.loading: tuple[str, int] | None = None  # what the workers are opening
        self._served: dict[str, dict[int, _Served]] = {}
        self._refusals: dict[str, dict[int, Refusal]] = {}
        self._table: dict[tuple[str, str], Classifier] = {}  # by everything that a request may say

    def get(self, name: str = "", version: str = "") -> Classifier:
        """The classifier of that name and version. Raises `NotFound`."""
        classifier = self._table.get((name, version))
        if classifier is None:
            raise self._not_found(name or self.default or "", version)
        return classifier

    def holds(self, name: str = "", version: str = "") -> bool:
        """Whether that model and version answers."""
        return (name, version) in self._table

    def select(self, name: str = "", version: str = "") -> list[Classifier]:
        """One version, or all that are served of a model, or all of all models. Raises `NotFound`."""
        if not name:
            return list(self)
        chosen = self.get(name, version)
        return [chosen] if version else [each for each in self if each.manifest.name == name]

    def __iter__(self) -> Iterator[Classifier]:
        """By name, the newest version first."""
        return iter(
            [
                versions[version].classifier
                for _, versions in sorted(self._served.items())
                for version in sorted(versions, reverse=True)
            ]
        )

    def keys(self) -> set[tuple[str, int]]:
        """The names and versions that are served."""
        return {(name, version) for name, versions in self._served.items() for version in versions}

    def names(self) -> set[str]:
        """The models of which something is served or refused."""
        return self._served.keys() | self._refusals.keys()

    def versions(self, name: str) -> list[int]:
        """The versions of a model that are served, oldest first."""
        return sorted(self._served.get(name, ()))

    def served(self, name: str) -> dict[int, str]:
        """The versions of a model that are served, and the fingerprints of what they were opened from."""
        return {version: each.fingerprint for version, each in self._served.get(name, {}).items()}

    def refused(self, name: str) -> dict[int, str]:
        """The versions of a model that were refused, and the fingerprints of what was refused."""
        return {version: each.fingerprint for version, each in self._refusals.get(name, {}).items()}

    def refusal(self, name: str, version: int) -> Refusal | None:
        """Why a version was refused, if it was."""
        return self._refusals.get(name, {}).get(version)

    def digest(self, name: str, version: int) -> str:
        """The digest of the manifest of a version that is served, empty for any other."""
        served = self._served.get(name, {}).get(version)
        return "" if served is None else served.classifier.manifest.manifest_sha256

    def states(self, *names: str) -> list[State]:
        """Every version that is served or was refused, of these models or of all."""
        return [
            State(name, version, version in self._served.get(name, {}), self.refusal(name, version))
            for name in sorted(names or self.names())
            for version in sorted(self._served.get(name, {}).keys() | self._refusals.get(name, {}).keys())
        ]

    def put(self, classifier: Classifier, fingerprint: str = "") -> None:
        """Answer with this classifier from now on; requests that run keep the one they have."""
        manifest = classifier.manifest
        self._served.setdefault(manifest.name, {})[manifest.version] = _Served(classifier, fingerprint)
        self.loading = None
        self.forget(manifest.name, manifest.version)
        self._index_names()

    def update_fingerprint(self, name: str, version: int, fingerprint: str) -> None:
        """Note that a version is what lies on disk under this fingerprint."""
        self._served[name][version] = self._served[name][version]._replace(fingerprint=fingerprint)

    def drop(self, name: str, version: int) -> None:
        """Answer no more requests for a version."""
        _remove(self._served, name, version)
        self._index_names()

    def refuse(self, name: str, version: int, refusal: Refusal) -> None:
        """Note what is not served, and why."""
        self._refusals.setdefault(name, {})[version] = refusal
        self.loading = None

    def forget(self, name: str, version: int) -> None:
        """Forget that a version was refused."""
        _remove(self._refusals, name, version)

    def unload(self, name: str) -> None:
        """Answer no more requests for a model, until it is released and put again."""
        self.unloaded.add(name)
        self._served.pop(name, None)
        self._index_names()

    def _index_names(self) -> None:
        table: dict[tuple[str, str], Classifier] = {}
        for name, versions in self._served.items():
            for key in (name, "") if name == self.default else (name,):
                table[key, ""] = versions[max(versions)].classifier
                table |= {(key, str(version)): each.classifier for version, each in versions.items()}
        self._table = table

    def _not_found(self, name: str, version: str) -> NotFound:
        versions = self._served.get(name)
        if name in self.unloaded:
            load = f"POST /v2/repository/models/{name}/load or gRPC's RepositoryModelLoad serves it again"
            return NotFound(f"model {name!r} was unloaded; {load}")
        if versions is None:
            return NotFound(f"there is no model {name!r}; loaded: {', '.join(sorted(self._served)) or 'none'}")
        loaded = ", ".join(map(str, sorted(versions)))
        return NotFound(f"version {version!r} of model {name!r} is not loaded; loaded: {loaded}")


def _remove(table: dict[str, dict[int, Kept]], name: str, version: int) -> None:
    versions = table.get(name, {})
    versions.pop(version, None)
    if not versions:
        table.pop(name, None)
