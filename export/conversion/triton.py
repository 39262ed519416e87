"""Writes a model repository for Triton: `text.onnx`, its configuration and its labels."""

from __future__ import annotations

from pathlib import Path

from sentiment_conv1d.artifact.artifact import Artifact, ArtifactError
from sentiment_conv1d.export.conversion.output import staged
from sentiment_conv1d.export.conversion.text_onnx import write_text_onnx

#: Triton adds the batch as the first dimension. The graph has no other for strings, so Triton removes the second one.
_CONFIGURATION = """\
name: "{name}"
backend: "onnxruntime"
max_batch_size: 32
input [
  {{ name: "text" data_type: TYPE_STRING dims: [ 1 ] reshape: {{ shape: [ ] }} }}
]
output [
  {{ name: "label" data_type: TYPE_STRING dims: [ 1 ] reshape: {{ shape: [ ] }} }},
  {{ name: "probabilities" data_type: TYPE_FP32 dims: [ {labels} ] label_filename: "labels.txt" }}{more}
]
instance_group [ {{ kind: KIND_CPU }} ]
dynamic_batching {{ }}
"""

#: The output of a model that gives a text several labels.
_HAS_LABEL = """,
  {{ name: "has_label" data_type: TYPE_BOOL dims: [ {labels} ] }}"""


def write_triton(artifact: Artifact, out: Path) -> list[str]:
    """Write the repository and return lines about it.

    Raises the errors of `write_text_onnx`, and `ArtifactError` for a label with a line break.
    """
    manifest = artifact.manifest
    for label in manifest.labels:
        if label.splitlines() != [label]:
            raise ArtifactError(f"{artifact.path}: Triton cannot read the label {label!r}, which has a line break")
    with staged(out) as repository:
        model = repository / manifest.name
        version = model / str(manifest.version)
        version.mkdir(parents=True)
        described, proof, _ = write_text_onnx(artifact, version / "model.onnx")
        (model / "labels.txt").write_bytes("".join(f"{label}\n" for label in manifest.labels).encode())
        labels = len(manifest.labels)
        more = _HAS_LABEL.format(labels=labels) if manifest.multilabel else ""
        configuration = _CONFIGURATION.format(name=manifest.name, labels=labels, more=more)
        (model / "config.pbtxt").write_text(configuration)
    return [described, proof, f"wrote {out}, for example for: tritonserver --model-repository {out}"]
