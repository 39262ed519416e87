"""Copies one version of a model from a store to a model repository on disk, completely or not at all."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from sentiment_conv1d.artifact.artifact import Artifact, ArtifactError, check_place, read_artifact, verify, write
from sentiment_conv1d.artifact.manifest import FILES, MANIFEST_FILE, MOST_BYTES, TEXT_GRAPH_FILE
from sentiment_conv1d.sharing.store import Store, StoreError, read_at_most

#: The most bytes of all files of a version together, unless the caller allows another number.
MAX_BYTES = 1 << 30


class Unusable(ArtifactError, StoreError):
    """A version does not exist in the store, is incomplete, or has too many bytes."""


def copy_version(
    store: Store,
    name: str,
    version: int,
    repository: Path,
    *,
    max_bytes: int = MAX_BYTES,
    optional: Collection[str] = (),
    replace: bool = False,
) -> Artifact:
    """Copy a version into a repository, and return the copy.

    The `optional` files are copied too if the store has them. If the repository has the version already, it is only
    verified, unless it has to be replaced. Raises `ArtifactError`, which names the file by its URL, if the version is
    invalid or has more than `max_bytes`, or if there is another artifact in its place; `NotWritable` if the system
    cannot write the copy; and `StoreError` if the store cannot be read.
    """
    place = f"{name}/{version}"
    with store.opened() as (system, root):
        system.invalidate_cache()
        contents = _download(system, f"{root}/{place}", f"{store.name}/{place}", max_bytes, optional)
    if _check(contents, Path(place), store.name).manifest.text_graph is None:
        contents.pop(TEXT_GRAPH_FILE, None)  # no digest of it is known
    target = repository.absolute() / name / str(version)
    if replace or not target.exists():
        return write(target, contents, replace=replace)
    present = read_artifact(target)
    if present.contents[MANIFEST_FILE] != contents[MANIFEST_FILE]:
        raise ArtifactError(f"{target}: contains another artifact than {store.name}/{place}")
    return present


def _download(system: Any, folder: str, url: str, max_bytes: int, optional: Collection[str]) -> dict[str, bytes]:
    """Return the files that exist, the manifest first. Bytes count while they arrive: a store can be anyone's."""
    contents: dict[str, bytes] = {}
    for file in (*reversed(FILES), *optional):
        left = max_bytes - sum(map(len, contents.values()))
        most = min(left, MOST_BYTES.get(file, left))
        content = read_at_most(system, f"{folder}/{file}", most)
        if content is None and file == MANIFEST_FILE:
            raise Unusable(
                f"{url}: the version does not exist, or is incomplete: it has no {MANIFEST_FILE}", "incomplete"
            )
        if content is not None:
            contents[file] = content
            if len(content) > left:
                raise Unusable(f"{url}: has more than {max_bytes:,} bytes; --max-bytes allows more", "large")
            if len(content) > most:
                raise Unusable(f"{url}/{file}: has more than {most:,} bytes", "large")
    return contents


def _check(contents: dict[str, bytes], place: Path, url: str) -> Artifact:
    """Raise `ArtifactError`, which names the file by its URL, if the files are not the artifact of this place."""
    try:
        for file in FILES:
            if file not in contents:
                raise ArtifactError(f"{place / file}: the file is missing", "incomplete")
        artifact = verify(place, contents)
        check_place(artifact)
    except ArtifactError as error:
        raise ArtifactError(f"{url}/{error}", error.fault) from error
    return artifact
