"""The models that are served: the newest version of each in a model repository."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model.artifact import ArtifactError, read_artifact, versions
from service.classifier import Classifier
from service.engine import ProviderChoice
from service.errors import NotFound, StartupError


class Repository:
    """Loaded classifiers by name."""

    def __init__(self, classifiers: dict[str, Classifier], default: str) -> None:
        self._classifiers = classifiers
        self._default = default

    def get(self, name: str | None = None) -> Classifier:
        """The classifier of that name, or the default one. Raises `NotFound`."""
        try:
            return self._classifiers[self._default if name is None else name]
        except KeyError:
            raise NotFound(f"there is no model {name!r}; loaded: {', '.join(self._classifiers)}") from None

    def __iter__(self) -> Iterator[Classifier]:
        return iter(self._classifiers.values())


def load_repository(
    path: Path, *, default: str | None = None, provider: ProviderChoice = "cpu", threads: int = 1, device: int = 0
) -> Repository:
    """Verify, open and warm up the newest version of every model in the folder.

    Raises `StartupError` if there is none, or no telling which is the default; `ArtifactError` if one is broken.
    """
    names = _names(path)
    if default is None:
        if len(names) > 1:
            raise StartupError(f"{path} holds several models ({', '.join(names)}): say which is the default")
        default = names[0]
    elif default not in names:
        raise StartupError(f"{path} holds no model {default!r}; there are: {', '.join(names)}")
    classifiers = {}
    for name in names:
        artifact = read_artifact(path / name / str(versions(path, name)[-1]))
        if (artifact.manifest.name, str(artifact.manifest.version)) != (name, artifact.path.name):
            raise ArtifactError(
                f"{artifact.path}: the manifest is that of {artifact.manifest.name} {artifact.manifest.version}"
            )
        classifiers[name] = Classifier(artifact, provider=provider, threads=threads, device=device)
    return Repository(classifiers, default)


def _names(path: Path) -> list[str]:
    if not path.is_dir():
        raise StartupError(f"{path}: there is no such model repository")
    names = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and versions(path, entry.name))
    if not names:
        raise StartupError(f"{path}: no model in it (a model is a folder <name>/<version>/ with a manifest.json)")
    return names
