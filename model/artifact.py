"""The artifact: one folder `<repository>/<name>/<version>/` with everything that the service needs of a model.

    model.onnx       input `tokens` int32 [batch, sequence_length], output `probabilities` float32 [batch, outputs]
    tokenizer.json   text to ids, see `model.tokenizer`
    manifest.json    what the model is, what was measured, and the SHA-256 of both files and of itself
    README.md        the model card, see `model.model_card`; readers ignore it

A reader checks all files before it uses any. A writer fills a temporary folder and renames it into place, so that
no reader sees an incomplete artifact.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from sentiment_conv1d.model.configuration import Configuration, Label, Name, is_name
from sentiment_conv1d.model.decision import THRESHOLD, DecisionRule
from sentiment_conv1d.model.errors import SentimentError
from sentiment_conv1d.model.input_shape import InputShape
from sentiment_conv1d.model.model_card import CARD_FILE, model_card
from sentiment_conv1d.model.text_statistics import TextStatistics
from sentiment_conv1d.model.tokenizer import Tokenizer, TokenizerError, read_tokenizer

FORMAT_VERSION: Literal[1] = 1
FILES = GRAPH_FILE, TOKENIZER_FILE, MANIFEST_FILE = "model.onnx", "tokenizer.json", "manifest.json"

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_NO_DIGEST = "0" * 64
_SELF_DIGEST = re.compile(rb'"manifest_sha256": "([0-9a-f]{64})"')

#: What can be wrong with an artifact. `incomplete`: a file is missing, or its size is not the one in the manifest.
#: `damaged`: a file does not match its digest. `unreadable`: a file cannot be read. `invalid`: the artifact contradicts
#: itself or is not supported. `graph`: ONNX Runtime cannot open the graph, or gets another golden answer. `crashed` and
#: `timeout`: opening it crashes the process, or takes too long.
Fault = Literal["incomplete", "damaged", "unreadable", "invalid", "graph", "crashed", "timeout"]


class ArtifactError(SentimentError):
    """An artifact is missing, changed, truncated, too new or inconsistent. The message names the file."""

    def __init__(self, message: str, fault: Fault = "invalid") -> None:
        super().__init__(message)
        self.fault: Fault = fault


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class File(_Record):
    """One file of the artifact."""

    bytes: int = Field(ge=0)
    sha256: Digest


class Golden(_Record):
    """A text and its probabilities, which a loader must get before it serves the model.

    They are those of Keras or, for an 8-bit graph, of the graph itself.
    """

    text: str
    probabilities: tuple[float, ...] = Field(min_length=1, description="One for a sigmoid, else one per label.")


class Metrics(_Record):
    """Metrics, and the data that they were measured on."""

    measured_on: str
    examples: int = Field(ge=1)
    values: dict[str, float]


class Sample(_Record):
    """A text for users to try, with its true label."""

    label: str
    text: str = Field(max_length=2000)


#: `ParityCheck.against` of comparisons that begin with texts, and `Manifest.text_parity` without such a comparison.
ORIGINAL_MODEL, EXPECTED_ANSWERS = "original model", "expected answers"
NOT_COMPARED = "not compared with the original on texts"


class ParityCheck(_Record):
    """One comparison, made before the artifact was written."""

    against: str
    inputs: str
    examples: int = Field(ge=1)
    largest_difference: float = Field(ge=0)


class QuantizationCheck(_Record):
    """The differences between an 8-bit graph and the float32 graph that it was quantized from."""

    inputs: str
    examples: int = Field(ge=1)
    largest_difference: float = Field(ge=0)
    mean_difference: float = Field(ge=0)
    changed_labels: int = Field(ge=0)
    accuracy: float | None = Field(description="Of the 8-bit graph; null if the labels are unknown.")
    float32_accuracy: float | None


class Manifest(_Record):
    """`manifest.json`. Fields that were added to format version 1 later are omitted if they have their default."""

    format_version: Literal[1] = 1
    name: Name
    version: int = Field(ge=1)
    created: str = Field(description="UTC, ISO 8601.")
    labels: tuple[Label, ...] = Field(min_length=2)
    activation: Literal["sigmoid", "softmax"]
    max_tokens: int = Field(ge=1)
    vocabulary_size: int = Field(ge=1, description="The number of ids. The highest id is one below it.")
    convolution_widths: tuple[int, ...] = Field(description="Empty if the graph is not of the Conv1D family.")
    leading_padding: int | None = Field(
        ge=0,
        description="The number of pad ids that is equivalent to padding up to max_tokens; null: pad to max_tokens.",
    )
    configuration: Configuration | None = Field(description="Of the training; null for a model trained elsewhere.")
    precision: Literal["float32", "uint8", "int8"] = Field(
        "float32",
        exclude_if=lambda value: value == "float32",
        description="The data type of the convolutions. Exports no longer write int8.",
    )
    metrics: Metrics | None = Field(description="Of the served graph; null if it was not measured.")
    parity: tuple[ParityCheck, ...] = Field(description="Comparisons that were made before it was published.")
    rounding: tuple[QuantizationCheck, ...] = Field(
        (), exclude_if=lambda value: not value, description="The quantization error of an 8-bit graph."
    )
    decision: DecisionRule = Field(
        DecisionRule(),
        exclude_if=lambda value: value == DecisionRule(),
        description="How the label follows from the probabilities. The graph applies the temperature.",
    )
    samples: tuple[Sample, ...] = Field(
        (), exclude_if=lambda value: not value, description="Held-out texts that people may see."
    )
    statistics: TextStatistics | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Of held-out texts and the predictions for them, to detect drift.",
    )
    golden: Golden
    libraries: dict[str, str]
    files: dict[str, File]
    manifest_sha256: Digest = Field(
        _NO_DIGEST, description="SHA-256 of this file with these 64 digits replaced by zeros."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if set(self.files) != {GRAPH_FILE, TOKENIZER_FILE}:
            raise ValueError(f"files must be {GRAPH_FILE} and {TOKENIZER_FILE}, not {sorted(self.files)}")
        if self.activation == "sigmoid" and len(self.labels) != 2:
            raise ValueError("a sigmoid has two labels")
        if len(self.golden.probabilities) != self.outputs:
            raise ValueError(f"the golden answer must have {self.outputs} probabilities")
        if self.activation == "softmax" and self.decision.threshold != THRESHOLD:
            raise ValueError("a threshold is for a sigmoid")
        if (self.precision != "float32") != bool(self.rounding):
            raise ValueError("an 8-bit graph, and no other, states its quantization error")
        return self

    @property
    def outputs(self) -> int:
        """The number of columns of `probabilities`: one for a sigmoid, one per label for a softmax."""
        return 1 if self.activation == "sigmoid" else len(self.labels)

    @property
    def text_parity(self) -> str:
        """What shows that a text gets the ids that the model was trained with, in one phrase."""
        if self.configuration is not None:
            return "trained with its tokenizer"
        compared = [check for check in self.parity if check.against in (ORIGINAL_MODEL, EXPECTED_ANSWERS)]
        if not compared:
            return NOT_COMPARED
        return " and ".join(f"compared with the {check.against} on {check.examples:,} texts" for check in compared)

    def to_bytes(self) -> bytes:
        """Return the content of the file, including its own digest."""
        unsigned = self.model_copy(update={"manifest_sha256": _NO_DIGEST})
        content = (json.dumps(unsigned.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n").encode()
        return _with_digest(content, hashlib.sha256(content).hexdigest())


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


def read_contents(path: Path) -> dict[str, bytes]:
    """Read every file of an artifact without checking it; returns the bytes by file name. Raises `ArtifactError`."""
    if not path.is_dir():
        raise ArtifactError(f"{path}: there is no such artifact folder", "incomplete")
    return {name: _read(path / name) for name in FILES}


def verify(path: Path, contents: Mapping[str, bytes]) -> Artifact:
    """Verify the contents of an artifact's files. Raises `ArtifactError`, which names the file as one in `path`."""
    manifest = _check_manifest(path / MANIFEST_FILE, contents[MANIFEST_FILE])
    for name, file in manifest.files.items():
        _check(path / name, contents[name], file)
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


def versions(repository: Path, name: str) -> list[int]:
    """Return the versions of a model in a repository, oldest first. Folders with other names are ignored."""
    folder = repository / name
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if is_version(entry.name) and entry.is_dir())


def is_version(name: str) -> bool:
    """Return whether a folder's name is a version: a positive integer of at most 18 digits, without leading zeros."""
    return name.isascii() and name.isdigit() and not name.startswith("0") and len(name) <= 18


def publish(repository: Path, manifest: Mapping[str, Any], graph: bytes, tokenizer: Tokenizer) -> Artifact:
    """Write the next free version of a model into a repository, completely or not at all.

    `manifest` contains the fields of `Manifest` except `version` and `files`. Two exports at the same time write two
    versions. Raises `ArtifactError` if the repository cannot be written to, or the finished artifact is invalid.
    """
    contents = {GRAPH_FILE: graph, TOKENIZER_FILE: tokenizer.to_json().encode()}
    files = {
        name: File(bytes=len(content), sha256=hashlib.sha256(content).hexdigest()) for name, content in contents.items()
    }
    home = repository / str(manifest["name"])
    with _staging(home) as temporary:
        for name, content in contents.items():
            _write_through(temporary / name, content)
        version = max(versions(repository, home.name), default=0) + 1
        while True:
            complete = Manifest(**manifest, version=version, files=files)
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
    with _staging(home) as temporary:
        for name, content in {
            **artifact.contents,
            MANIFEST_FILE: moved.to_bytes(),
            CARD_FILE: model_card(moved).encode(),
        }.items():
            _write_through(temporary / name, content)
        read_artifact(temporary)
        if target.exists():
            raise ArtifactError(f"{target}: the folder already exists")
        temporary.rename(target)
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
    """Yield a folder in `home` to fill and rename. It is removed otherwise. Raises `ArtifactError` for `OSError`."""
    temporary = None
    try:
        home.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".publishing-", dir=home))
        temporary.chmod(0o755)
        yield temporary
    except OSError as error:
        raise ArtifactError(f"{home}: cannot be written to ({error.strerror})") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would block
            raise ArtifactError(f"{path}: cannot be read (not a file)", "unreadable")
        return path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{path}: the file is missing", "incomplete") from None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})", "unreadable") from error


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
    digests = _SELF_DIGEST.findall(content)
    unsigned = _with_digest(content, _NO_DIGEST)
    if len(digests) != 1 or hashlib.sha256(unsigned).hexdigest() != digests[0].decode():
        raise ArtifactError(f"{path}: its SHA-256 is not the one it states: the file was changed", "damaged")
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise ArtifactError(f"{path}: {place}: {first['msg']}") from error


def _with_digest(content: bytes, digest: str) -> bytes:
    return _SELF_DIGEST.sub(f'"manifest_sha256": "{digest}"'.encode(), content)
