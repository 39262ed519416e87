"""The artifact: one folder `<repository>/<name>/<version>/` with everything that the service needs of a model.

    model.onnx       input `tokens` int32 [batch, sequence_length], output `probabilities` float32 [batch, outputs]
    tokenizer.json   text to ids, see `artifact.tokenizer`
    manifest.json    what the model is, what was measured, and the SHA-256 of both files and of itself
    README.md        the model card, see `artifact.model_card`; readers ignore it
    text.onnx        optional: the same model from text to label, see `artifact.graphs.text`; readers ignore it

A reader checks all files before it uses any. A writer fills a temporary folder and renames it into place, so that
no reader sees an incomplete artifact.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic import ValidationError

from sentiment_conv1d.artifact.configuration import is_name
from sentiment_conv1d.artifact.errors import SentimentError, first_fault, reading
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.manifest import (
    FILES,
    FORMAT_VERSION,
    GRAPH_FILE,
    MANIFEST_FILE,
    MOST_BYTES,
    TEXT_GRAPH_FILE,
    TOKENIZER_FILE,
    File,
    Manifest,
    describe,
    states_own_digest,
)
from sentiment_conv1d.artifact.model_card import CARD_FILE, model_card
from sentiment_conv1d.artifact.tokenizer import Tokenizer, TokenizerError, read_tokenizer

#: How the names of the folders begin in which artifacts are written. A process that is killed leaves its folder.
STAGING = ".publishing-"

#: The permissions of the folder of an artifact, which other users can read.
_READABLE = 0o755

#: What can be wrong with an artifact. `incomplete`: a file is missing, or its size is not the one in the manifest.
#: `damaged`: a file does not match its digest. `unreadable`: a file cannot be read. `invalid`: the artifact contradicts
#: itself or is not supported. `graph`: ONNX Runtime cannot open the graph, or gets another golden answer. `crashed` and
#: `timeout`: opening it crashes the process, or takes too long. `full`: the service has no room for it. `large`: a
#: file has more bytes than `MOST_BYTES`, or all of them have more than are read from a store.
Fault = Literal["incomplete", "damaged", "unreadable", "invalid", "graph", "crashed", "timeout", "full", "large"]


class ArtifactError(SentimentError):
    """An artifact is missing, changed, truncated, too new or inconsistent. The message names the file."""

    def __init__(self, message: str, fault: Fault = "invalid") -> None:
        super().__init__(message)
        self.fault: Fault = fault


class NotWritable(ArtifactError):
    """The system cannot write an artifact to its folder."""


@dataclass(frozen=True)
class Artifact:
    """A verified artifact in memory. `contents` are the bytes of each file, whose digests were checked."""

    path: Path
    manifest: Manifest
    contents: Mapping[str, bytes]
    tokenizer: Tokenizer

    @property
    def graph(self) -> bytes:
        """The ONNX graph."""
        return self.contents[GRAPH_FILE]

    @property
    def input_shape(self) -> InputShape:
        """The input of the graph."""
        return InputShape.of(self.tokenizer, self.manifest.leading_padding)


def read_artifact(path: Path) -> Artifact:
    """Read and verify the artifact in folder `path`. Raises `ArtifactError`, which names the file."""
    return verify(path, read_contents(path))


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder. Raises `OSError` if the system does not say, as without permission.

    With Python 3.14, `Path.is_dir` and `Path.exists` return False then.
    """
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    """Return the mode of a file or folder, or 0 if there is none."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last one is about a null byte
        return 0


def read_contents(path: Path) -> dict[str, bytes]:
    """Read every file of an artifact without checking it; returns the bytes by file name. Raises `ArtifactError`."""
    try:
        if not is_folder(path):
            raise ArtifactError(f"{path}: there is no such artifact folder", "incomplete")
        if not _mode(path / MANIFEST_FILE):
            versions = [int(each.name) for each in path.glob("*") if is_version(each.name)]
            if versions:
                newest = path / str(max(versions))
                raise ArtifactError(f"{path}: is a model; name one of its versions, such as {newest}", "incomplete")
            if not any(_mode(path / name) for name in FILES):
                raise ArtifactError(f"{path}: not a model: it contains none of {', '.join(FILES)}", "incomplete")
    except OSError as error:  # such as a folder that belongs to another user
        raise _unreadable(path, error) from error
    return {name: _read(path / name) for name in FILES}


def verify(path: Path, contents: Mapping[str, bytes]) -> Artifact:
    """Verify the contents of an artifact's files. Raises `ArtifactError`, which names the file as one in `path`.

    `text.onnx` is optional. It is checked if the manifest describes it.
    """
    for name, content in contents.items():
        _check_size(path / name, len(content))
    manifest = _check_manifest(path / MANIFEST_FILE, contents[MANIFEST_FILE])
    for name, file in manifest.files.items():
        _check(path / name, contents[name], file)
    if manifest.text_graph is not None and TEXT_GRAPH_FILE in contents:
        _check(path / TEXT_GRAPH_FILE, contents[TEXT_GRAPH_FILE], manifest.text_graph.file)
    try:
        tokenizer = read_tokenizer(contents[TOKENIZER_FILE])
    except TokenizerError as error:
        raise ArtifactError(f"{path / TOKENIZER_FILE}: {error}") from error
    declared = (manifest.max_tokens, manifest.vocabulary_size)
    if (tokenizer.max_tokens, tokenizer.vocabulary_size) != declared:
        raise ArtifactError(
            f"{path / TOKENIZER_FILE}: {tokenizer.max_tokens} tokens and {tokenizer.vocabulary_size} ids, "
            f"while {MANIFEST_FILE} says {declared[0]} and {declared[1]}"
        )
    return Artifact(path, manifest, contents, tokenizer)


def read_text_graph(artifact: Artifact) -> bytes | None:
    """Return the content of `text.onnx`, or None if there is none. Raises `ArtifactError` if it was changed."""
    path = artifact.path / TEXT_GRAPH_FILE
    if artifact.manifest.text_graph is None or not path.exists():
        return None
    content = _read(path)
    _check(path, content, artifact.manifest.text_graph.file)
    return content


def versions(repository: Path, name: str) -> list[int]:
    """Return the versions of a model in a repository, oldest first. Folders with other names are ignored."""
    folder = repository / name
    if not is_folder(folder):
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if is_version(entry.name) and entry.is_dir())


def is_version(name: str) -> bool:
    """Return whether a folder's name is a version: a positive integer of at most 18 digits, without leading zeros."""
    return name.isascii() and name.isdigit() and not name.startswith("0") and len(name) <= 18


def draft(manifest: Mapping[str, Any], graph: bytes, tokenizer: Tokenizer) -> Artifact:
    """Return an artifact in memory, before it has a place.

    `manifest` contains the fields of `Manifest` except `version` and `files`. Raises `ArtifactError` for an artifact
    that no reader would accept.
    """
    path = Path(manifest["name"])
    contents = {GRAPH_FILE: graph, TOKENIZER_FILE: tokenizer.to_json().encode()}
    files = {name: describe(content) for name, content in contents.items()}
    try:
        complete = Manifest(**manifest, version=1, files=files)
    except ValidationError as error:
        raise ArtifactError(f"{path / MANIFEST_FILE}: {first_fault(error)}") from error
    for name, content in {**contents, MANIFEST_FILE: complete.to_bytes()}.items():
        _check_size(path / name, len(content))
    return Artifact(path, complete, contents, tokenizer)


def publish(
    repository: Path,
    manifest: Mapping[str, Any],
    graph: bytes,
    tokenizer: Tokenizer,
    text_graph: bytes | None = None,
) -> Artifact:
    """Write the next free version of a model into a repository, completely or not at all.

    `manifest` is that of `draft`, and `text_graph` is the content of `text.onnx`, which the manifest describes. Two
    exports at the same time write two versions. Raises `ArtifactError` if the repository cannot be written to, or the
    finished artifact is invalid.
    """
    first = draft(manifest, graph, tokenizer)
    others = {} if text_graph is None else {TEXT_GRAPH_FILE: text_graph}
    for name, content in others.items():
        _check_size(first.path / name, len(content))
    home = repository / str(manifest["name"])
    with _staging(home) as temporary:
        for name, content in {**first.contents, **others}.items():
            _write_through(temporary / name, content)
        version = max(versions(repository, home.name), default=0) + 1
        while True:
            complete = first.manifest.model_copy(update={"version": version})
            _write_through(temporary / MANIFEST_FILE, complete.to_bytes())
            _write_through(temporary / CARD_FILE, model_card(complete).encode())
            read_artifact(temporary)
            try:
                temporary.rename(home / str(version))
            except OSError:
                if not (home / str(version)).exists():
                    raise
                version += 1
            else:
                return read_artifact(home / str(version))


def copy(source: Path, target: Path) -> Artifact:
    """Write the artifact in `source` to a new folder `target`, with the name and version of that folder.

    `target` is `<repository>/<name>/<version>`. The artifact is written completely or not at all. Raises
    `ArtifactError` if the source is invalid, or the target is not such a folder or exists.
    """
    artifact = read_artifact(source)
    target = target.absolute()
    home, version = target.parent, target.name
    if not is_name(home.name) or not is_version(version):
        raise ArtifactError(f"{target}: not a folder <repository>/<name>/<version>")
    moved = artifact.manifest.model_copy(update={"name": home.name, "version": int(version)})
    contents = {**artifact.contents, MANIFEST_FILE: moved.to_bytes(), CARD_FILE: model_card(moved).encode()}
    text_graph = read_text_graph(artifact)
    return write(target, contents if text_graph is None else {**contents, TEXT_GRAPH_FILE: text_graph})


def write(target: Path, contents: Mapping[str, bytes], *, replace: bool = False) -> Artifact:
    """Write the files of an artifact to a folder `target`, completely or not at all.

    Raises `ArtifactError` if the files are invalid, or the folder exists and `replace` is false, and `NotWritable` if
    the system cannot write them.
    """
    with _staging(target.parent) as temporary:
        folder = temporary / "new"
        folder.mkdir()
        folder.chmod(_READABLE)
        for name, content in contents.items():
            _write_through(folder / name, content)
        read_artifact(folder)
        if replace:
            with suppress(FileNotFoundError):
                target.rename(temporary / "old")
        elif target.exists():
            raise ArtifactError(f"{target}: the folder already exists")
        folder.rename(target)
    return read_artifact(target)


def check_place(artifact: Artifact) -> None:
    """Raise `ArtifactError` if the name or version in the manifest is not that of the folder."""
    manifest, path = artifact.manifest, artifact.path
    if (path.parent.name, path.name) != (manifest.name, str(manifest.version)):
        raise ArtifactError(
            f"{path}: the manifest belongs to {manifest.name} {manifest.version}; to give an artifact another name or "
            "version, use `python -m sentiment_conv1d copy ARTIFACT NEW_ARTIFACT`"
        )


@contextmanager
def _staging(home: Path) -> Iterator[Path]:
    """Yield a folder in `home` to fill and rename. It is removed otherwise. Raises `NotWritable` for `OSError`."""
    with reading(home, NotWritable, "written to"):
        home.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=STAGING, dir=home, ignore_cleanup_errors=True) as temporary:
            Path(temporary).chmod(_READABLE)
            yield Path(temporary)


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # reading a pipe would block
            raise ArtifactError(f"{path}: cannot be read (not a file)", "unreadable")
        _check_size(path, found.st_size)
        with path.open("rb") as file:
            return file.read(found.st_size)  # and no more, if the file grows meanwhile
    except FileNotFoundError:
        raise ArtifactError(f"{path}: the file is missing", "incomplete") from None
    except OSError as error:
        raise _unreadable(path, error) from error


def _check_size(path: Path, size: int) -> None:
    most = MOST_BYTES.get(path.name, size)  # people may write a model card of any size
    if size > most:
        raise ArtifactError(f"{path}: {size:,} bytes; {path.name} has at most {most:,}", "large")


def _unreadable(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"{path}: cannot be read ({error.strerror})", "unreadable")


def _check(path: Path, content: bytes, expected: File) -> None:
    if len(content) != expected.bytes:
        raise ArtifactError(f"{path}: {len(content)} bytes, while {MANIFEST_FILE} says {expected.bytes}", "incomplete")
    if hashlib.sha256(content).hexdigest() != expected.sha256:
        raise ArtifactError(f"{path}: its SHA-256 is not the one in {MANIFEST_FILE}: the file was changed", "damaged")


def _check_manifest(path: Path, content: bytes) -> Manifest:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: not valid JSON ({error})", "damaged") from error
    format_version = document.get("format_version") if isinstance(document, dict) else None
    if not isinstance(format_version, int):
        raise ArtifactError(f"{path}: not a manifest: it has no format_version")
    if format_version != FORMAT_VERSION:
        age = "newer" if format_version > FORMAT_VERSION else "older"
        raise ArtifactError(
            f"{path}: format version {format_version} is {age} than the one this program reads ({FORMAT_VERSION})"
        )
    if not states_own_digest(content):
        raise ArtifactError(f"{path}: its SHA-256 is not the one it states: the file was changed", "damaged")
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        raise ArtifactError(f"{path}: {first_fault(error)}") from error
    except RecursionError as error:
        raise ArtifactError(f"{path}: {error}") from error
