"""`load`: finds a model by its name, folder or URL, and opens it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from sentiment_conv1d.artifact.artifact import is_folder, is_version
from sentiment_conv1d.artifact.configuration import is_name
from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.artifact.manifest import MANIFEST_FILE
from sentiment_conv1d.commands.default_repository import readable_repository
from sentiment_conv1d.inference.options import ProviderChoice
from sentiment_conv1d.models import Model
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.service.models.mirror import Mirror
from sentiment_conv1d.service.models.startup import default_artifact
from sentiment_conv1d.service.settings import Settings, read_settings
from sentiment_conv1d.service.version_policy import VersionPolicy
from sentiment_conv1d.sharing.store import StoreUnreachable

logger = logging.getLogger(__name__)


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    repository: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    execution_provider: ProviderChoice = "auto",
    threads: int = 1,
    device: int = 0,
) -> Model:
    """Open a model:

        load()                                the default model of the repository
        load("imdb-cnn")                      the newest version of a model in the repository
        load("imdb-cnn:1")                    a version
        load("./model_repository/imdb-cnn/1") a folder of an artifact, of a model, or of a repository
        load("s3://bucket/models/imdb-cnn/1") the same at a URL

    A string without a slash is a name. `repository` is a folder or a URL. By default it is `model_repository` in the
    working directory if this folder exists, and otherwise the shipped models. Models from URLs are copied to `cache`,
    by default `~/.cache/sentiment-conv1d`, and need the extra `remote`.

    `execution_provider` is auto, cpu or cuda, `threads` the number of ONNX Runtime threads per run, and `device` the
    number of the GPU.

    Raises `SentimentError` if there is no such model, or if it is damaged or cannot be run.
    """
    name, version = "", ""
    given = None if model is None else os.fspath(model)
    if given is not None and ("/" in given or os.sep in given or isinstance(model, os.PathLike)):
        if repository is not None:
            raise SentimentError(f"{given}: repository= goes with the name of a model, not with a folder or a URL")
        repository, name, version = _split(given)
    elif given is not None:
        name, _, version = given.partition(":")
        if not is_name(name) or (version and not is_version(version)):
            raise SentimentError(f"{given!r} is neither NAME nor NAME:VERSION; a folder is written with a slash")
    root = readable_repository() if repository is None else os.fspath(repository)
    if "://" in str(root):
        root = _copy(str(root), name, version, cache)
    folder = _folder(Path(root), name, version)
    return Model(Session(str(folder.absolute()), execution_provider, threads, device))


def _split(location: str) -> tuple[str, str, str]:
    """Return the repository, the name and the version of a folder or a URL, as far as it names them."""
    if "://" in location:
        parent, _, version = location.rstrip("/").rpartition("/")
        url, _, name = parent.rpartition("/")
        return (url, name, version) if is_version(version) and is_name(name) else (location, "", "")
    folder = Path(location).absolute()
    return (str(folder.parent), "", folder.name) if (folder / MANIFEST_FILE).is_file() else (location, "", "")


def _folder(root: Path, name: str, version: str) -> Path:
    """Return the folder of a version, of the newest version of a model, or of the default model of a repository.

    Without a name, `root` can also be the folder of a model. Raises `SentimentError`.
    """
    if version and not name:
        return root / version
    folder = root / name
    versions = _versions(folder)
    if not name and not versions:
        return default_artifact(Settings(model_repository=str(root))).path
    if not versions:
        names = sorted(each.name for each in _folders(root) if is_name(each.name) and _versions(each))
        raise SentimentError(f"there is no model {name!r} in {root}; there are: {', '.join(names) or 'none'}")
    if version and int(version) not in versions:
        there_are = ", ".join(map(str, sorted(versions)))
        raise SentimentError(f"there is no version {version} of {name!r} in {root}; there are: {there_are}")
    return folder / (version or str(max(versions)))


def _versions(folder: Path) -> list[int]:
    return [int(each.name) for each in _folders(folder) if is_version(each.name)]


def _folders(folder: Path) -> Iterable[Path]:
    return [each for each in folder.iterdir() if each.is_dir()] if is_folder(folder) else []


def _copy(url: str, name: str, version: str, cache: str | os.PathLike[str] | None) -> Path:
    """Copy the models of a repository at a URL, and return the folder of the copies.

    If the store does not answer, the copies of an earlier call stay. Raises `SentimentError`.
    """
    folder = read_settings({"model_cache": cache}, {}).cache_folder()
    policy = VersionPolicy(f"{name}=only:{version}" if version else "newest:1")
    mirror = Mirror(url, folder, policy)
    try:
        mirror.update(first=True)
    except StoreUnreachable as error:
        if not mirror.copies():
            raise
        logger.warning("%s; the copies in %s are used", error, mirror.path)
    return mirror.path
