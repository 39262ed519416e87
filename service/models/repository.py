"""The models that are served: of each, the versions that its policy chooses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, TypeVar

from sentiment_conv1d.model.artifact import Artifact, ArtifactError, check_place, verify
from sentiment_conv1d.service.errors import NotFound, StartupError
from sentiment_conv1d.service.inference.classifier import Classifier
from sentiment_conv1d.service.models.scan import Scan, Scanner
from sentiment_conv1d.service.models.version_policy import Load, VersionPolicy, next_step
from sentiment_conv1d.service.settings import Settings

logger = logging.getLogger(__name__)

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Entry:
    """A version in the repository's folder, or one that is served though it left it."""

    name: str
    version: str
    state: str  # READY, LOADING, UNLOADING or UNAVAILABLE
    reason: str


class Refusal(NamedTuple):
    """Why a version is not served, or not what lies in its place now."""

    fingerprint: str
    fault: str  # in one word
    reason: str


class State(NamedTuple):
    """What is to be said of one version; both of it where what is served lies no more in its place."""

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


class Repository:
    """A folder of models, a classifier for every version that is served, and what was refused.

    Empty names and versions stand for the default model and its newest version that is served, as clients send them.
    """

    def __init__(self, settings: Settings) -> None:
        self.scanner = Scanner(settings.model_repository)
        self.policy = VersionPolicy(settings.versions)
        self.default = settings.default_model
        self.unloaded: set[str] = set()
        self.loading: tuple[str, int] | None = None  # what the workers are opening
        self._settings = settings
        self._served: dict[str, dict[int, _Served]] = {}
        self._refusals: dict[str, dict[int, Refusal]] = {}
        self._table: dict[tuple[str, str], Classifier] = {}  # by everything that a request may say

    def choose(self, admit: Callable[[Artifact, str], None], *, strict: bool = False) -> None:
        """Hand the versions that are to be served to `admit`, with their fingerprints: what the service begins with.

        A version that is broken, or that `admit` finds to be, is refused and leaves its place to the next; with
        `strict` its error is raised instead. Raises `StartupError` if there is no model or no telling which is the
        default, and `ArtifactError` if nothing of the default model can be served.
        """
        scan = self._first_scan()
        for name, present in scan.items():
            served: dict[int, str] = {}
            while True:
                refused = self.refused(name)
                match next_step(self.policy, name, present, served, refused, keep=False):
                    case Load(version):
                        fingerprint = present[version]
                    case _:
                        break
                try:
                    admit(self.read(name, version), fingerprint)
                except ArtifactError as error:
                    if strict:
                        raise
                    self.refuse(name, version, Refusal(fingerprint, error.fault, str(error)))
                    extra = {"version": version, "fault": error.fault}
                    logger.error("refused a version of %s: %s", name, error, extra=extra)
                else:
                    served[version] = fingerprint
            if name == self.default and not served:
                self._raise_for(name, present)

    def open_all(self, *, strict: bool = False) -> None:
        """Serve what is to be served. Raises as `choose` does."""
        self.choose(lambda artifact, fingerprint: self.put(self.open(artifact), fingerprint), strict=strict)

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

    def read(self, name: str, version: int) -> Artifact:
        """Read and verify a version. Raises `ArtifactError`."""
        return self.verify(name, version, self.scanner.read(name, version))

    def verify(self, name: str, version: int, contents: Mapping[str, bytes]) -> Artifact:
        """The artifact of these files, if it is that of this version. Raises `ArtifactError`."""
        artifact = verify(self.scanner.path_of(name, version), contents)
        check_place(artifact)
        return artifact

    def open(self, artifact: Artifact) -> Classifier:
        """Open and warm up a version, which takes a moment; it answers once it is `put`. Raises `ArtifactError`."""
        settings = self._settings
        return Classifier(
            artifact,
            provider=settings.execution_provider,
            threads=settings.threads,
            device=settings.device,
            batch_rows=settings.batching_rows,
        )

    def put(self, classifier: Classifier, fingerprint: str = "") -> None:
        """Answer with this classifier from now on; requests that run keep the one they have."""
        manifest = classifier.manifest
        self._served.setdefault(manifest.name, {})[manifest.version] = _Served(classifier, fingerprint)
        self.loading = None
        self.forget(manifest.name, manifest.version)
        self._index_names()

    def update_fingerprint(self, name: str, version: int, fingerprint: str) -> None:
        """What lies in the place of a version now is what is served."""
        self._served[name][version] = self._served[name][version]._replace(fingerprint=fingerprint)

    def drop(self, name: str, version: int) -> None:
        """Answer no more requests for a version."""
        _remove(self._served, name, version)
        self._index_names()

    def refuse(self, name: str, version: int, refusal: Refusal) -> None:
        """Remember what is not served, and why."""
        self._refusals.setdefault(name, {})[version] = refusal
        self.loading = None

    def forget(self, name: str, version: int) -> None:
        """Nothing is to be said against a version any more."""
        _remove(self._refusals, name, version)

    def unload(self, name: str) -> None:
        """Answer no more requests for a model, until it is released and put again."""
        self.unloaded.add(name)
        self._served.pop(name, None)
        self._index_names()

    def index(self, scan: Scan, in_use: Collection[tuple[str, int]] = ()) -> list[Entry]:
        """Every version that a scan found, and every other that is served, was refused or is `in_use`."""
        versions = {(name, version) for name, present in scan.items() for version in present}
        known = {(name, version) for name, version, _, _ in self.states()}
        entries = []
        for name, version in sorted(versions | known | set(in_use)):
            present = scan.get(name, {})
            if version in self.served(name):
                state, reason = "READY", self._remark(name, version, present)
            elif (name, version) == self.loading:
                state, reason = "LOADING", ""
            elif (name, version) in in_use:
                state, reason = "UNLOADING", "requests for it still run"
            else:
                state, reason = "UNAVAILABLE", self._why_not(name, version, present)
            entries.append(Entry(name, str(version), state, reason))
        return entries

    def _remark(self, name: str, version: int, present: Mapping[int, str]) -> str:
        refusal = self.refusal(name, version)
        if refusal is not None:
            return f"what lies in its place now was refused: {refusal.reason}"
        return "" if version in present else "its folder is gone"

    def _why_not(self, name: str, version: int, present: Mapping[int, str]) -> str:
        refusal = self.refusal(name, version)
        if refusal is not None:
            return refusal.reason
        if name in self.unloaded:
            return "unloaded"
        refused = self.refused(name)
        if version not in self.policy.choose(
            name, (each for each, fingerprint in present.items() if refused.get(each) != fingerprint)
        ):
            return f"not among the versions to serve: {self.policy.rule(name)}"
        return "not loaded yet"

    def _first_scan(self) -> Scan:
        path = self.scanner.path
        if not path.is_dir():
            raise StartupError(f"{path}: there is no such model repository")
        try:
            scan = self.scanner.scan()
        except OSError as error:
            raise StartupError(f"{error.filename}: cannot be read ({error.strerror})") from error
        names = ", ".join(scan)
        if not scan:
            raise StartupError(f"{path}: no model in it (a model is a folder <name>/<version>/ with a manifest.json)")
        if self.default is None:
            if len(scan) > 1:
                raise StartupError(f"{path} holds several models ({names}): say which is the default")
            [self.default] = scan
        elif self.default not in scan:
            raise StartupError(f"{path} holds no model {self.default!r}; there are: {names}")
        return scan

    def _raise_for(self, name: str, present: Iterable[int]) -> NoReturn:
        refusals = self._refusals.get(name)
        if refusals:
            raise ArtifactError(refusals[max(refusals)].reason)
        there = ", ".join(map(str, present))
        raise StartupError(f"no version of {name!r} fits --versions {self.policy.rule(name)}; there are: {there}")

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


def load_repository(settings: Settings) -> Repository:
    """The repository of the settings, opened. Raises as `Repository.choose` does, and `ArtifactError` for anything
    that is broken.
    """
    repository = Repository(settings)
    repository.open_all(strict=True)
    return repository
