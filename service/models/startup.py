"""Opens the models of a repository that a service or a command starts with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from sentiment_conv1d.artifact.artifact import Artifact, ArtifactError, is_folder
from sentiment_conv1d.artifact.errors import TransientError
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.repository import Repository, Scan
from sentiment_conv1d.service.models.steps import Versions, next_step
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.version_policy import VersionPolicy

logger = logging.getLogger(__name__)

#: If there are several models and the settings choose none, the first of these that exists is the default model.
_SHIPPED = ("reviews", "imdb-cnn")

_CHOICE = "--default-model (SENTIMENT_DEFAULT_MODEL)"

#: Opens and warms up a version. Raises `ArtifactError`.
Open = Callable[[Artifact], Classifier]


def choose(repository: Repository, models: LoadedModels, admit: Callable[[Order], None]) -> None:
    """Pass an order to load each version that the service starts with to `admit`.

    If `admit` raises `ArtifactError`, the version is refused and the policy chooses another.
    If the settings name no default model, it is the only model, `reviews` or `imdb-cnn`. Raises `StartupError` if there
    is no model or no default model, `TransientError` if a process crashed while it opened the default model, and
    `ArtifactError` if no version of the default model can be served for another reason.
    """
    chosen = models.default
    scan, models.default = _first_scan(repository, chosen)
    for name, present in scan.items():
        served: dict[int, str] = {}
        refused: dict[int, str] = {}
        deferred: set[int] = set()
        versions = Versions(name, present, served, refused, deferred)
        problem: ArtifactError | None = None
        # Nothing has been removed or replaced yet, so every step is a load, or a refusal for lack of room.
        while step := next_step(repository.policy, replace(versions, room=models.room)):
            try:
                if step.action == "refuse":
                    raise ArtifactError(step.reason, "full")
                admit(step)
            except ArtifactError as error:
                problem = problem or error
                if step.action == "load":
                    refused[step.version] = step.fingerprint
                else:
                    deferred.add(step.version)
                models.follow(step.refusal(error.fault, str(error)))
                extra = {"version": step.version, "fault": error.fault}
                logger.error("refused a version of %s: %s", name, error, extra=extra)
            else:
                served[step.version] = step.fingerprint
        if name == models.default and not served:
            if problem is not None and problem.fault == "crashed":  # perhaps for lack of memory
                raise TransientError(str(problem)) from problem
            raise problem or _no_version(name, present, repository)
    if chosen is None and len(scan) > 1:
        logger.info("the default model is %s; %s chooses another of: %s", models.default, _CHOICE, ", ".join(scan))


def default_artifact(settings: Settings) -> Artifact:
    """Return the newest version of the default model that the policy chooses, for commands that use one model.

    Raises `StartupError` if there is none, and `ArtifactError` if it is damaged.
    """
    repository = repository_of(settings)
    scan, name = _first_scan(repository, settings.default_model)
    versions = repository.policy.choose(name, scan[name])
    if not versions:
        raise _no_version(name, scan[name], repository)
    return repository.read(name, versions[0])


def repository_of(settings: Settings, *, watched: bool = False) -> Repository:
    """Return the repository of the settings, which the caller follows if it is `watched`.

    Raises `StartupError` if a URL cannot be read and has no copy.
    """
    policy = VersionPolicy(settings.versions)
    if "://" not in settings.model_repository:
        return Repository(Path(settings.model_repository), policy)
    from sentiment_conv1d.service.models.mirror import Mirror
    from sentiment_conv1d.service.models.update import start

    mirror = Mirror(settings.model_repository, settings.cache_folder(), policy, settings.max_bytes)
    start(mirror, settings.store_timeout, watched=watched)
    return mirror


def opener(settings: Settings) -> Open:
    """Return a function that opens versions with the execution provider of the settings."""
    return partial(
        Classifier,
        provider=settings.execution_provider,
        threads=settings.threads,
        device=settings.device,
        native=settings.native_operator,
        batch_rows=settings.batching_rows,
    )


def _first_scan(repository: Repository, default: str | None) -> tuple[Scan, str]:
    """Return what is in a repository, and the default model: the chosen one, the only one or the shipped one."""
    path = repository.path
    if not is_folder(path):
        raise StartupError(f"{path}: there is no such model repository")
    try:
        scan = repository.scan()
    except OSError as error:
        raise StartupError(f"{error.filename}: cannot be read ({error.strerror})") from error
    names = ", ".join(scan)
    if not scan:
        raise StartupError(f"{path} contains no model (a model is a folder <name>/<version>/ with a manifest.json)")
    if default is None:
        default = next(iter(scan)) if len(scan) == 1 else next((name for name in _SHIPPED if name in scan), None)
        if default is None:
            raise StartupError(f"{path} contains several models ({names}): choose the default one with {_CHOICE}")
    elif default not in scan:
        raise StartupError(f"{path} contains no model {default!r}; {_CHOICE} chooses one of: {names}")
    return scan, default


def _no_version(name: str, present: Iterable[int], repository: Repository) -> StartupError:
    there = ", ".join(map(str, present))
    rule = repository.policy.rule(name)
    return StartupError(f"no version of {name!r} fits --versions {rule}; there are: {there}")
