"""Describes the server and its models in the protocol's documents.

The documents have the same keys in JSON over REST and in protobuf messages over gRPC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.service.protocols.oip.inference import LABEL, PROBABILITIES, SCORE, TEXT, TOKENS
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.telemetry.statistics import Statistics
from sentiment_conv1d.service.version import package_version

SERVER_NAME = "sentiment-conv1d"
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "schedule_policy",
    "statistics",
)
PLATFORM = "onnx_onnxv1"


def server_metadata() -> dict[str, Any]:
    """Return the server's name, version and extensions."""
    return {"name": SERVER_NAME, "version": package_version(), "extensions": list(EXTENSIONS)}


def model_metadata(classifier: Classifier, versions: Sequence[int]) -> dict[str, Any]:
    """Return a model's inputs and outputs with their full shapes; -1 stands for any size.

    `tokens` can have fewer columns than the shape says. With -1 instead, load generators, which fill every input, would
    not start until the user specifies a size.
    """
    labels = len(classifier.labels)
    return {
        "name": classifier.manifest.name,
        "versions": [str(version) for version in versions],
        "platform": PLATFORM,
        "inputs": [
            {"name": TEXT, "datatype": "BYTES", "shape": [-1, 1]},
            {"name": TOKENS, "datatype": "INT32", "shape": [-1, classifier.manifest.max_tokens]},
        ],
        "outputs": [
            {"name": LABEL, "datatype": "BYTES", "shape": [-1, 1]},
            {"name": SCORE, "datatype": "FP32", "shape": [-1, 1]},
            {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, labels]},
        ],
    }


def model_config(classifier: Classifier, max_batch_size: int) -> dict[str, Any]:
    """Return Triton's model configuration. Its dims do not include the batch dimension."""
    return {
        "name": classifier.manifest.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": max_batch_size,
        "input": [
            {"name": TEXT, "data_type": "TYPE_STRING", "dims": [1], "optional": True},
            {"name": TOKENS, "data_type": "TYPE_INT32", "dims": [classifier.manifest.max_tokens], "optional": True},
        ],
        "output": [
            {"name": LABEL, "data_type": "TYPE_STRING", "dims": [1]},
            {"name": SCORE, "data_type": "TYPE_FP32", "dims": [1]},
            {"name": PROBABILITIES, "data_type": "TYPE_FP32", "dims": [len(classifier.labels)]},
        ],
    }


def model_statistics(classifier: ServedClassifier) -> dict[str, Any]:
    """Return counts and durations since the model was loaded (Triton, docs/protocol/extension_statistics.md)."""
    statistics = classifier.statistics
    return {
        "name": classifier.manifest.name,
        "version": str(classifier.manifest.version),
        "last_inference": statistics["last_inference"],
        "inference_count": statistics["texts"],
        "execution_count": statistics["runs"],
        "inference_stats": _inference_stats(statistics),
        "batch_stats": [],
    }


def _inference_stats(statistics: Statistics) -> dict[str, dict[str, int]]:
    # Every answered request passes every stage, so one count serves for all. Separate reads could differ while another
    # worker counts, and clients would take that for an error.
    answered = statistics.successes
    success, queue, tokenize, infer = (statistics[name] for name in ("success_time", "queue", "tokenize", "infer"))
    return {
        name: {"count": count, "ns": nanoseconds}
        for name, count, nanoseconds in (
            ("success", answered, success),
            ("fail", statistics["failures"], statistics["failure_time"]),
            ("queue", answered, queue),
            ("compute_input", answered, tokenize),
            ("compute_infer", answered, infer),
            ("compute_output", answered, max(0, success - queue - tokenize - infer)),
            # There is no response cache, but clients read these two entries without checking whether they exist.
            ("cache_hit", 0, 0),
            ("cache_miss", 0, 0),
        )
    }
