"""Downloads an artifact from a model repository in a store."""

from __future__ import annotations

from pathlib import Path

from sentiment_conv1d.artifact.artifact import Artifact, is_version
from sentiment_conv1d.artifact.configuration import is_name
from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.artifact.manifest import MANIFEST_FILE, TEXT_GRAPH_FILE
from sentiment_conv1d.artifact.model_card import CARD_FILE
from sentiment_conv1d.sharing.copier import MAX_BYTES, copy_version
from sentiment_conv1d.sharing.store import Store, versions_in


def pull(url: str, repository: Path, max_bytes: int = MAX_BYTES) -> Artifact:
    """Download the artifact at `url`, URL/NAME/VERSION, with its model card, into a local model repository.

    URL/NAME is the newest complete version. An artifact that is there already is only verified. Raises the errors of
    `copy_version`, and `SentimentError` if there is no complete version.
    """
    parent, name, version = _split(url)
    store = Store(parent)
    newest = _newest(store, name) if version is None else version
    return copy_version(store, name, newest, repository, max_bytes=max_bytes, optional=(CARD_FILE, TEXT_GRAPH_FILE))


def _split(url: str) -> tuple[str, str, int | None]:
    """Return the repository, the name, and the version or None."""
    parent, _, last = url.rstrip("/").rpartition("/")
    version = int(last) if is_version(last) else None
    parent, _, name = (parent, "", last) if version is None else parent.rpartition("/")
    if "://" not in parent or parent.endswith(":/") or not is_name(name):
        raise SentimentError(
            f"{Store(url).name}: pull needs URL/NAME or URL/NAME/VERSION, such as s3://bucket/models/imdb-cnn/1"
        )
    return parent, name, version


def _newest(store: Store, name: str) -> int:
    """Return the newest version that has a manifest, which `push` writes last."""
    with store.opened() as (system, root):
        system.invalidate_cache()
        try:
            found = sorted(versions_in(system, f"{root}/{name}"), reverse=True)
        except FileNotFoundError:
            system.ls(root)  # raises if that does not exist either
            found = []
        for version in found:
            if system.exists(f"{root}/{name}/{version}/{MANIFEST_FILE}"):
                return version
    raise SentimentError(f"{store.name}: contains no complete version of {name!r}")
