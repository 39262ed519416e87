"""Downloads an artifact from a model repository in a store, and writes it completely or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentiment_conv1d.model.artifact import (
    Artifact,
    ArtifactError,
    check_place,
    is_version,
    read_artifact,
    verify,
    write,
)
from sentiment_conv1d.model.configuration import is_name
from sentiment_conv1d.model.errors import SentimentError
from sentiment_conv1d.model.manifest import FILES, MANIFEST_FILE, TEXT_GRAPH_FILE
from sentiment_conv1d.model.model_card import CARD_FILE
from sentiment_conv1d.sharing.store import Store, StoreError, read_at_most, versions_in


def pull(url: str, repository: Path, most_bytes: int = 1 << 30) -> Artifact:
    """Download the artifact at `url`, URL/NAME/VERSION, into a local model repository.

    URL/NAME is the newest complete version. An artifact that is there already is only verified. Raises `ArtifactError`
    if the artifact is invalid, there is another one in its place, or the folder cannot be written to, and `StoreError`
    if the store cannot be read, or has no such version, or one of more than `most_bytes`.
    """
    parent, name, version = _split(url)
    store = Store(parent)
    with store.opened() as (system, root):
        system.invalidate_cache()
        version = version or _newest(system, root, name, store.name)
        place = f"{name}/{version}"
        contents = _download(system, f"{root}/{place}", f"{store.name}/{place}", most_bytes)
    if _check(contents, Path(place), store.name).manifest.text_graph is None:
        contents.pop(TEXT_GRAPH_FILE, None)  # no digest of it is known
    target = repository.absolute() / name / version
    if not target.exists():
        return write(target, contents)
    present = read_artifact(target)
    if present.contents[MANIFEST_FILE] != contents[MANIFEST_FILE]:
        raise ArtifactError(f"{target}: contains another artifact than {store.name}/{place}")
    return present


def _download(system: Any, folder: str, url: str, most_bytes: int) -> dict[str, bytes]:
    """Return the files that exist, the manifest first. Bytes count while they arrive: a store can be anyone's."""
    contents: dict[str, bytes] = {}
    for file in (*reversed(FILES), CARD_FILE, TEXT_GRAPH_FILE):
        left = most_bytes - sum(map(len, contents.values()))
        content = read_at_most(system, f"{folder}/{file}", left)
        if content is None and file == MANIFEST_FILE:
            raise StoreError(f"{url}: the version does not exist, or is incomplete: it has no {MANIFEST_FILE}")
        if content is not None:
            contents[file] = content
            if len(content) > left:
                raise StoreError(f"{url}: has more than {most_bytes:,} bytes; --max-bytes allows more")
    return contents


def _split(url: str) -> tuple[str, str, str]:
    """Return the repository, the name, and the version or an empty string."""
    parent, _, last = url.rstrip("/").rpartition("/")
    version = last if is_version(last) else ""
    parent, _, name = parent.rpartition("/") if version else (parent, "", last)
    if "://" not in parent or parent.endswith(":/") or not is_name(name):
        raise SentimentError(
            f"{Store(url).name}: pull needs URL/NAME or URL/NAME/VERSION, such as s3://bucket/models/imdb-cnn/1"
        )
    return parent, name, version


def _newest(system: Any, root: str, name: str, url: str) -> str:
    """Return the newest version that has a manifest, which `push` writes last."""
    try:
        found = sorted(versions_in(system, f"{root}/{name}"), reverse=True)
    except FileNotFoundError:
        system.ls(root)  # raises if that does not exist either
        found = []
    for version in found:
        if system.exists(f"{root}/{name}/{version}/{MANIFEST_FILE}"):
            return str(version)
    raise SentimentError(f"{url}: contains no complete version of {name!r}")


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
