"""A namespace of an OCI registry as a file system of fsspec, which other modules read like that of any store."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import oras.defaults
from fsspec import AbstractFileSystem
from oras.container import Container
from pydantic import BaseModel, Field, NonNegativeInt, ValidationError
from requests import Response

from sentiment_conv1d.model.artifact import ArtifactError
from sentiment_conv1d.model.manifest import FILES, TEXT_GRAPH_FILE
from sentiment_conv1d.model.model_card import CARD_FILE
from sentiment_conv1d.sharing.oci.registry import Registry

ARTIFACT_TYPE = "application/vnd.sentiment-conv1d.model.v1"

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_URL = re.compile(rf"oci://(?=[^/]*[.:])([A-Za-z0-9.-]+(?::\d+)?)/({_PART}(?:/{_PART})*)")


#: The titles of layers. There can be others, which nobody reads.
_FILES = (*FILES, CARD_FILE, TEXT_GRAPH_FILE)


class File(NamedTuple):
    """What a manifest says about a file."""

    digest: str
    size: int


class _Layer(BaseModel):
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: NonNegativeInt
    annotations: dict[str, str] = {}


class _Manifest(BaseModel):
    artifactType: Literal["application/vnd.sentiment-conv1d.model.v1"]
    layers: list[_Layer]

    def files(self) -> dict[str, File]:
        titles = ((layer.annotations.get(oras.defaults.annotation_title), layer) for layer in self.layers)
        return {title: File(layer.digest, layer.size) for title, layer in titles if title in _FILES}


class Namespace(AbstractFileSystem):
    """The models in a namespace, read-only:

        /reviews               the repository <namespace>/reviews of the registry
        /reviews/3             its tag 3, an artifact
        /reviews/3/model.onnx  the layer with this title

    Raises `ValueError` if the URL is invalid. Methods raise `OSError`, and `ArtifactError` if a tag is not a model, or
    if the registry returns other bytes than the manifest says.
    """

    protocol = "oci"

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(**options)
        found = _URL.fullmatch(url)
        if found is None:
            raise ValueError("a registry needs a URL like oci://HOST[:PORT]/NAMESPACE, with small letters")
        self._url, self._host, self._name = url, found[1], found[2]
        self.registry = Registry(self._host)
        self._files: dict[tuple[str, str], Mapping[str, File]] = {}

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """List the models of the namespace, or the tags of a model."""
        model = path.strip("/")
        names = [f"{model}/{tag}" for tag in self._tags(model)] if model else self._models()
        return [{"name": name, "size": 0, "type": "directory"} for name in names] if detail else names

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Describe a file of a tag. Everything above is a folder, also if it does not exist."""
        if path.strip("/").count("/") < 2:
            return {"name": path, "size": 0, "type": "directory"}
        file = self._file(path)
        return {"name": path, "size": file.size, "type": "file", "ETag": file.digest}

    def exists(self, path: str, **options: Any) -> bool:
        """Return whether there is a file. Raises `OSError` if the registry does not answer."""
        try:
            self.info(path)
        except (FileNotFoundError, ArtifactError):
            return False
        return True

    def files(self, model: str, tag: str) -> Mapping[str, File]:
        """Return the files of a tag, as they were when it was first asked for; none if the tag does not exist."""
        if (model, tag) not in self._files:
            self._files[model, tag] = self._read(model, tag)
        return self._files[model, tag]

    def invalidate_cache(self, path: str | None = None) -> None:
        """Read the tags again."""
        self._files.clear()

    def container(self, model: str, tag: str) -> Container:
        """Return the name of a tag for the library. Raises `ValueError` if a registry cannot have such a model."""
        return Container(f"{self._host}/{self._repository(model)}:{tag}")

    def _repository(self, model: str) -> str:
        if not re.fullmatch(_PART, model):
            raise ValueError(f"registries allow no model {model!r}: separators (. _ -) stand between letters or digits")
        return f"{self._name}/{model}"

    def _models(self) -> list[str]:
        try:
            names = list(self.registry.names("_catalog", "repositories"))
        except (FileNotFoundError, PermissionError) as error:
            raise PermissionError(
                f"{error} to a listing of its repositories; `pull` the models and serve their folder"
            ) from error
        return [name.removeprefix(f"{self._name}/") for name in names if name.startswith(f"{self._name}/")]

    def _tags(self, model: str) -> list[str]:
        try:
            return list(self.registry.names(f"{self._repository(model)}/tags/list", "tags"))
        except FileNotFoundError:  # registries list repositories whose tags were all removed
            return []

    def _read(self, model: str, tag: str) -> Mapping[str, File]:
        accepted = ", ".join(oras.defaults.default_manifest_accepted_media_types)
        try:
            document = self.registry.read(f"{self._repository(model)}/manifests/{tag}", Accept=accepted)
            return _Manifest.model_validate_json(document).files()
        except FileNotFoundError:
            return {}
        except ValidationError as error:
            url = f"{self._url}/{model}/{tag}"
            raise ArtifactError(f"{url}: the tag is not an OCI artifact of the type {ARTIFACT_TYPE}") from error

    def _file(self, path: str) -> File:
        model, tag, name = path.strip("/").split("/")
        try:
            return self.files(model, tag)[name]
        except KeyError:
            raise FileNotFoundError(path) from None

    def _open(self, path: str, mode: str = "rb", **options: Any) -> io.BufferedReader:
        file = self._file(path)
        model, tag, _ = path.strip("/").split("/")
        answer = self.registry.get_blob(self.container(model, tag), file.digest, stream=True)
        return io.BufferedReader(_Blob(answer, file, f"{self._url}/{path.strip('/')}"))


class _Blob(io.RawIOBase):
    """The content of a file. Reading raises `ArtifactError` if it does not have the size and digest of the manifest."""

    def __init__(self, answer: Response, file: File, url: str) -> None:
        self._answer, self._file, self._url = answer, file, url
        self._size, self._digest = 0, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._answer.raw.read(len(buffer))
        self._size += len(content)
        self._digest.update(content)
        complete = content or f"sha256:{self._digest.hexdigest()}" == self._file.digest
        if not complete or self._size > self._file.size:
            raise ArtifactError(f"{self._url}: the registry returns other bytes than its manifest says", "damaged")
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._answer.close()
        super().close()
