"""Writes a version to an OCI registry: first the files, then the manifest, with which readers see all of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from oras.container import Container
from oras.defaults import annotation_title
from oras.oci import NewLayer, NewManifest

from sentiment_conv1d.model.errors import TransientError
from sentiment_conv1d.model.manifest import MANIFEST_FILE
from sentiment_conv1d.sharing.oci.namespace import ARTIFACT_TYPE, Namespace

_FILE_TYPE = "application/octet-stream"
_CONFIG, _CONFIG_TYPE = b"{}", "application/vnd.oci.empty.v1+json"


class RegistryCommit:
    """A tag for a version in a namespace, which the namespace has looked at. `url` names it in messages."""

    def __init__(self, namespace: Namespace, url: str) -> None:
        self._namespace, self._url = namespace, url

    def write(self, version: str, files: Mapping[str, bytes], missing: Collection[str]) -> None:
        """Write all files of a version, which is <name>/<version>. The registry keeps those that it has.

        Raises `TransientError` if the tag changed since the namespace looked at it. A registry cannot compare and set.
        """
        model, _, tag = version.partition("/")
        container, before = self._namespace.container(model, tag), self._namespace.files(model, tag)
        with TemporaryDirectory() as folder:
            config = self._upload(Path(folder, "config"), _CONFIG, _CONFIG_TYPE, container)
            layers = [
                self._upload(Path(folder, name), content, _FILE_TYPE, container)
                | {"annotations": {annotation_title: name}}
                for name, content in files.items()
            ]
        self._namespace.invalidate_cache()
        if self._namespace.files(model, tag) != before:
            raise TransientError(f"{self._url}: another push wrote it at the same time; push again")
        self._namespace.registry.upload_manifest(_manifest(model, tag, files, config, layers), container)

    def _upload(self, file: Path, content: bytes, kind: str, container: Container) -> dict[str, Any]:
        """Upload a blob, from a file because the library reads one, and return its descriptor."""
        file.write_bytes(content)
        layer: dict[str, Any] = NewLayer(str(file), kind)
        self._namespace.registry.upload_blob(str(file), container, layer)
        file.unlink()
        return layer


def _manifest(
    model: str, tag: str, files: Mapping[str, bytes], config: dict[str, Any], layers: list[dict[str, Any]]
) -> dict[str, Any]:
    annotations = {annotation_title: model, "org.opencontainers.image.version": tag}
    if (license := json.loads(files[MANIFEST_FILE]).get("license")) is not None:
        annotations["org.opencontainers.image.licenses"] = license
    content = {"artifactType": ARTIFACT_TYPE, "config": config, "layers": layers, "annotations": annotations}
    return {**NewManifest(), **content}
