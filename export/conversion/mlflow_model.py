"""Writes an MLflow model: the artifact, and the code of the Python interface, because no package index has it."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sentiment_conv1d
from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.artifact.tokenizer import LibraryTokenizer
from sentiment_conv1d.commands.installation import install_hint
from sentiment_conv1d.export.conversion.output import staged

#: The subpackages that the Python interface imports, and the packages that it needs.
_FOLDERS = (
    *("artifact", "commands", "inference", "native", "protos", "scoring", "server", "service", "sharing", "tables"),
)
_REQUIREMENTS = ("numpy", "onnxruntime", "orjson", "pandas", "pydantic", "tqdm")


def write_mlflow(artifact: Artifact, out: Path) -> list[str]:
    """Write the folder of the model and return lines about it.

    Raises `SentimentError` if MLflow is not installed, and `ArtifactError` if the folder cannot be written.
    """
    with staged(out) as folder:
        _save(artifact, folder)
    return [
        "input text: string; outputs label: string, score: double, probabilities: an object by label",
        f"wrote {out}, for example for: mlflow models serve --model-uri {out}",
    ]


def _save(artifact: Artifact, folder: Path) -> None:
    """Write the model to a new folder."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import pyfunc
        from pandas import DataFrame
    except ImportError as error:
        raise SentimentError(f"--to mlflow needs MLflow: {install_hint('mlflow')}") from error
    reading = ["tokenizers"] if isinstance(artifact.tokenizer, LibraryTokenizer) else []
    with TemporaryDirectory() as code:
        pyfunc.save_model(
            folder,
            loader_module="sentiment_conv1d.pyfunc",
            data_path=str(artifact.path),
            code_paths=[str(_copy_code(Path(code, "sentiment_conv1d")))],
            pip_requirements=[f"{name}=={version(name)}" for name in (*_REQUIREMENTS, *reading)],
            signature=_signature(artifact.manifest.labels),
            input_example=DataFrame({"text": [artifact.manifest.golden.text]}),
        )


def _signature(labels: tuple[str, ...]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, Object, Property, Schema

    probabilities = Object([Property(label, DataType.double) for label in labels])
    outputs = {"label": DataType.string, "score": DataType.double, "probabilities": probabilities}
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "text")]),
        outputs=Schema([ColSpec(kind, name) for name, kind in outputs.items()]),
    )


def _copy_code(target: Path) -> Path:
    """Copy the package without the shipped models and the native library, which fits only this platform."""
    places = [Path(each) for each in sentiment_conv1d.__path__]
    for place in places:
        for folder in filter(Path.is_dir, (place / name for name in _FOLDERS)):
            ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyi")
            shutil.copytree(folder, target / folder.name, ignore=ignored)
    for file in places[0].glob("*.py"):
        shutil.copyfile(file, target / file.name)
    return target
