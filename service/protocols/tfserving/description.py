"""What TensorFlow Serving's API says about models, over REST and gRPC: the signature, and the status of versions.

The documents have protobuf's JSON form. Source: TensorFlow Serving's api_rest.md and its .proto files.
"""

from __future__ import annotations

from typing import Any

from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.telemetry.metrics import ModelState

#: The only signature of every model, and its outputs, which are fields of a prediction.
SIGNATURE = "serving_default"
OUTPUTS = ("label", "score", "probabilities")


def check_signature(name: str | None) -> None:
    """Raise `Invalid` if a request names another signature."""
    if name not in (None, "", SIGNATURE):
        raise Invalid(f"there is no signature {name!r}; there is: {SIGNATURE}")


def signature_map(manifest: Manifest) -> dict[str, Any]:
    """Return the signatures of a model as a `SignatureDefMap`."""
    signature = {
        "method_name": "tensorflow/serving/predict",
        "inputs": {"text": _tensor("DT_STRING")},
        "outputs": {
            "label": _tensor("DT_STRING"),
            "score": _tensor("DT_FLOAT"),
            "probabilities": _tensor("DT_FLOAT", len(manifest.labels)),
        },
    }
    return {"signature_def": {SIGNATURE: signature}}


def model_status(models: LoadedModels, name: str, version: str = "") -> dict[str, Any]:
    """Return the states of a version, or of all versions that are served or were refused, newest first.

    The document is a `GetModelStatusResponse`. `version` can be a label. Raises `NotFound`.
    """
    if version:
        manifest = models.get(name, version).manifest
        states = [each for each in models.states(manifest.name) if each.version == manifest.version]
    else:
        states = models.states(models.name_of(name))
    return {
        "model_version_status": [
            _status(each, "AVAILABLE", "OK", "")
            if each.served or not each.fault
            else _status(each, "END", "INVALID_ARGUMENT", each.reason)
            for each in sorted(states, key=lambda each: -each.version)
        ]
    }


def _status(state: ModelState, name: str, code: str, message: str) -> dict[str, Any]:
    return {
        "version": str(state.version),
        "state": name,
        "status": {"error_code": code, "error_message": message},
    }


def _tensor(dtype: str, *sizes: int) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in (-1, *sizes)]
    return {"dtype": dtype, "tensor_shape": {"dim": dimensions, "unknown_rank": False}, "name": ""}
