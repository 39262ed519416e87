"""Uploads an artifact to a model repository in a store, so that no reader sees an incomplete version.

The manifest is written last, and a version without a manifest is not complete. Files of a version are created and never
replaced, so of two pushes of the same version at the same time, the first wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sentiment_conv1d.artifact.artifact import check_place, read_artifact, read_text_graph
from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.artifact.manifest import FILES, TEXT_GRAPH_FILE
from sentiment_conv1d.artifact.model_card import CARD_FILE, model_card
from sentiment_conv1d.sharing.store import Store, read_file

if TYPE_CHECKING:
    from sentiment_conv1d.sharing.hub import HubCommit


class Pushed(NamedTuple):
    """The URL of a version, and the names of the files that were written."""

    url: str
    written: list[str]


def push(folder: Path, url: str) -> Pushed:
    """Upload the artifact in `folder` to the repository at `url`, and check that the store returns the same files.

    It continues an interrupted push, and replaces only the model card. Raises `ArtifactError` if the artifact is
    invalid, `StoreError` if the store fails, and `SentimentError` if it contains another artifact of this version.
    """
    store = Store(url)
    if "://" not in url or url.startswith(("http://", "https://")):
        raise SentimentError(f"{store.name}: push needs the URL of a store that it can write to: s3://bucket/models")
    version, files = _read(folder)
    with store.opened("written to") as (system, root):
        destination = Destination(system, f"{root}/{version}", f"{store.name}/{version}")
        commit = _commit(system, root, destination.url)
        missing = destination.missing(files)
        if commit is None:
            destination.write(missing)
        elif missing:
            commit.write(version, files, missing)
        if not destination.contains(files):
            raise SentimentError(f"{destination.url}: the store does not return the files that were written to it")
    return Pushed(destination.url, list(missing))


def _commit(system: Any, root: str, url: str) -> HubCommit | None:
    """Return what writes all files of a version at once, or None if the store cannot do that."""
    if system.protocol != "hf":
        return None
    from sentiment_conv1d.sharing.hub import HubCommit

    return HubCommit(system, root, url)


def _read(folder: Path) -> tuple[str, dict[str, bytes]]:
    """Return <name>/<version> of an artifact, and its files in the order in which they are written."""
    artifact = read_artifact(folder.absolute())
    check_place(artifact)
    card = folder / CARD_FILE
    text_graph = read_text_graph(artifact)
    files = {} if text_graph is None else {TEXT_GRAPH_FILE: text_graph}
    files |= {name: artifact.contents[name] for name in FILES}  # the manifest is the last
    files[CARD_FILE] = card.read_bytes() if card.is_file() else model_card(artifact.manifest).encode()
    return f"{artifact.manifest.name}/{artifact.manifest.version}", files


class Destination(NamedTuple):
    """The folder of a version in a file system of fsspec, and its URL for messages."""

    system: Any
    folder: str
    url: str

    def missing(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the files that have to be written. Raises `SentimentError` if there is another file in their place."""
        self.system.invalidate_cache()
        missing = {}
        for name, content in files.items():
            found = read_file(self.system, f"{self.folder}/{name}")
            if found is not None and name != CARD_FILE and not content.startswith(found):
                raise SentimentError(
                    f"{self.url}: contains another {name}, so nothing was written; to push the artifact as another "
                    "version, use `copy` first"
                )
            if found != content:
                missing[name] = content
        return missing

    def contains(self, files: Mapping[str, bytes]) -> bool:
        """Return whether the store returns these files."""
        self.system.invalidate_cache()
        return all(read_file(self.system, f"{self.folder}/{name}") == content for name, content in files.items())

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files in their order, each completely before the next."""
        from fsspec.implementations.local import LocalFileSystem

        if isinstance(self.system, LocalFileSystem):  # the others have no folders, or create them
            self.system.makedirs(self.folder, exist_ok=True)
        for name, content in files.items():
            if name == CARD_FILE:
                self.system.pipe_file(f"{self.folder}/{name}", content)
            else:
                self._create(name, content)

    def _create(self, name: str, content: bytes) -> None:
        path = f"{self.folder}/{name}"
        found = read_file(self.system, path)
        if found is not None and found != content and content.startswith(found):
            self.system.rm_file(path)  # an interrupted push left the beginning of the file
        try:
            with self.system.open(path, "xb") as file:
                file.write(content)
        except Exception as error:
            found = read_file(self.system, path)
            if found is None:
                raise
            if found != content and content.startswith(found) and not isinstance(error, FileExistsError):
                raise  # the disk is full
        else:
            found = read_file(self.system, path)
        if found != content:
            raise SentimentError(f"{self.url}: another push wrote {name} at the same time")
