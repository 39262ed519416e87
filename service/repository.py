"""The models that are served: the newest version of each in a model repository."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from model.artifact import ArtifactError, read_artifact, versions
from service.classifier import Classifier
from service.errors import NotFound, StartupError
from service.settings import Settings


class Entry(NamedTuple):
    """A version that lies in the repository's folder."""

    name: str
    version: str
    state: str  # READY or UNAVAILABLE
    reason: str


class Repository:
    """A folder of models, and a classifier for the newest version of each that is loaded.

    Empty names and versions stand for the default model and its loaded version, as clients send them.
    """

    def __init__(self, settings: Settings) -> None:
        self.path = settings.model_repository
        self.default = settings.default_model
        self._settings = settings
        self._loaded: dict[str, Classifier] = {}

    def load_all(self) -> None:
        """Verify, open and warm up the newest version of every model in the folder.

        Raises `StartupError` if there is none, or no telling which is the default; `ArtifactError` if one is broken.
        """
        if not self.path.is_dir():
            raise StartupError(f"{self.path}: there is no such model repository")
        names = self._names()
        if not names:
            raise StartupError(
                f"{self.path}: no model in it (a model is a folder <name>/<version>/ with a manifest.json)"
            )
        if self.default is None:
            if len(names) > 1:
                raise StartupError(f"{self.path} holds several models ({', '.join(names)}): say which is the default")
            self.default = names[0]
        elif self.default not in names:
            raise StartupError(f"{self.path} holds no model {self.default!r}; there are: {', '.join(names)}")
        for name in names:
            self.put(self.open(name))

    def get(self, name: str = "", version: str = "") -> Classifier:
        """The classifier of that name and version. Raises `NotFound`."""
        classifier = self._loaded.get(name or self.default or "")
        if classifier is None:
            raise NotFound(f"there is no model {name or self.default!r}; loaded: {', '.join(self._loaded) or 'none'}")
        if version and version != str(classifier.manifest.version):
            raise NotFound(
                f"version {version!r} of model {classifier.manifest.name!r} is not loaded; "
                f"loaded: {classifier.manifest.version}"
            )
        return classifier

    def holds(self, name: str = "", version: str = "") -> bool:
        """Whether that model and version answers."""
        try:
            self.get(name, version)
        except NotFound:
            return False
        return True

    def select(self, name: str = "", version: str = "") -> list[Classifier]:
        """One classifier by name, or all of them where none is named. Raises `NotFound`."""
        return [self.get(name, version)] if name else list(self)

    def __iter__(self) -> Iterator[Classifier]:
        return iter(list(self._loaded.values()))

    def check(self, name: str) -> None:
        """Raise `NotFound` if no model of that name lies in the folder."""
        if name not in self._names():
            raise NotFound(f"there is no model {name!r} in the repository")

    def open(self, name: str) -> Classifier:
        """Verify, open and warm up the newest version of a model, which takes a moment.

        It does not answer requests before it is `put`. Raises `NotFound` or `ArtifactError`.
        """
        self.check(name)
        artifact = read_artifact(self.path / name / str(versions(self.path, name)[-1]))
        manifest = artifact.manifest
        if (manifest.name, str(manifest.version)) != (name, artifact.path.name):
            raise ArtifactError(f"{artifact.path}: the manifest is that of {manifest.name} {manifest.version}")
        settings = self._settings
        return Classifier(
            artifact,
            provider=settings.execution_provider,
            threads=settings.threads,
            device=settings.device,
            batch_rows=settings.batching_rows,
        )

    def put(self, classifier: Classifier) -> None:
        """Answer with this classifier from now on; requests that run keep the one they have."""
        self._loaded[classifier.manifest.name] = classifier

    def unload(self, name: str) -> None:
        """Answer no more requests for a model. Raises `NotFound`."""
        del self._loaded[self.get(name).manifest.name]

    def index(self) -> list[Entry]:
        """Every version in the folder, and every loaded one whose folder is gone."""
        loaded = {(each.manifest.name, each.manifest.version) for each in self}
        present = {(name, version) for name in self._names() for version in versions(self.path, name)}
        return [
            Entry(name, str(version), "READY", "")
            if (name, version) in loaded
            else Entry(name, str(version), "UNAVAILABLE", "not loaded")
            for name, version in sorted(loaded | present)
        ]

    def _names(self) -> list[str]:
        if not self.path.is_dir():
            return []
        return sorted(entry.name for entry in self.path.iterdir() if entry.is_dir() and versions(self.path, entry.name))


def load_repository(settings: Settings) -> Repository:
    """The repository of the settings with everything loaded. Raises as `Repository.load_all` does."""
    repository = Repository(settings)
    repository.load_all()
    return repository
