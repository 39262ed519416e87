"""The forms that an artifact can be converted to, by the name of the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sentiment_conv1d.export.conversion.kserve import write_kserve
from sentiment_conv1d.export.conversion.mlflow_model import write_mlflow
from sentiment_conv1d.export.conversion.text_onnx import write_text_onnx
from sentiment_conv1d.export.conversion.triton import write_triton
from sentiment_conv1d.model.artifact import Artifact


@dataclass(frozen=True)
class Target:
    """A form: its line in the help, the default name of the file or folder, and the function that writes it.

    The function writes to a path that does not exist, completely or not at all, and returns lines for the user.
    """

    help: str
    out: str
    write: Callable[[Artifact, Path], list[str]]


TARGETS = {
    "text-onnx": Target("one ONNX file from text to label, for any ONNX Runtime", "text.onnx", write_text_onnx),
    "mlflow": Target("an MLflow model that contains the code which runs it", "mlflow_model", write_mlflow),
    "triton": Target("a model repository from text to label for Triton", "triton_repository", write_triton),
    "kserve": Target("an InferenceService, and the model to upload, for KServe", "kserve", write_kserve),
}
