"""Writes an InferenceService for KServe, which runs the project's image, and the model to upload for it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from string import Template

from sentiment_conv1d.export.conversion.output import staged
from sentiment_conv1d.model.artifact import Artifact

_TEMPLATE = Path(__file__).with_name("kserve.yaml")

#: The most characters of the name of an InferenceService, which becomes part of the name of a host with 63.
_MAX_NAME = 40


def write_kserve(artifact: Artifact, out: Path) -> list[str]:
    """Write the folder and return lines about it. Raises `ArtifactError` if it cannot be written."""
    name = artifact.manifest.name
    path = f"{name}/{artifact.manifest.version}"
    manifest = Template(_TEMPLATE.read_text()).substitute(service=service_name(name), model=name, path=path)
    with staged(out) as folder:
        shutil.copytree(artifact.path, folder / "models" / path)
        (folder / "inferenceservice.yaml").write_text(manifest)
    return [
        f"upload the model: sentiment-conv1d push {out}/models/{path} s3://BUCKET/models",
        f"wrote {out}; set the image and storageUri in inferenceservice.yaml, and apply it",
    ]


def service_name(model: str) -> str:
    """Return a name that Kubernetes accepts: letters, digits and hyphens, which does not begin or end with a hyphen."""
    return f"model-{re.sub('[._]', '-', model)}"[:_MAX_NAME].rstrip("-")
