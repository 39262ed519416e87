"""Metadata, configuration and statistics, which clients and load generators read first."""

from pathlib import Path

import pytest

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.service.protocols.oip import description
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.telemetry.statistics import BatchTimes
from sentiment_conv1d.service.version import package_version
from tests.service.artifacts import MAX_TOKENS, publish_table


@pytest.fixture
def tickets(tmp_path: Path) -> ServedClassifier:
    """Return a small model of three labels."""
    return ServedClassifier(Classifier(publish_table(tmp_path)))


def test_server() -> None:
    """The server lists exactly the extensions that it supports."""
    assert description.server_metadata() == {
        "name": "sentiment-conv1d",
        "version": package_version(),
        "extensions": [
            "binary_tensor_data",
            "classification",
            "model_configuration",
            "model_repository",
            "schedule_policy",
            "statistics",
        ],
    }


def test_model(classifier: ServedClassifier) -> None:
    """The metadata have the inputs and outputs of the shipped model, and versions are strings."""
    assert description.model_metadata(classifier, [1, 12]) == {
        "name": "imdb-cnn",
        "versions": ["1", "12"],
        "platform": "onnx_onnxv1",
        "inputs": [
            {"name": "text", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "tokens", "datatype": "INT32", "shape": [-1, 400]},
        ],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "score", "datatype": "FP32", "shape": [-1, 1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
        ],
    }


def test_other_model(tickets: ServedClassifier) -> None:
    """Shapes and dims follow from the model's labels and length."""
    metadata = description.model_metadata(tickets, [1])
    assert [each["shape"] for each in metadata["inputs"]] == [[-1, 1], [-1, MAX_TOKENS]]
    assert [each["shape"] for each in metadata["outputs"]] == [[-1, 1], [-1, 1], [-1, 3]]
    config = description.model_config(tickets, 7)
    assert (config["name"], config["max_batch_size"]) == ("tickets", 7)
    assert [each["dims"] for each in config["input"]] == [[1], [MAX_TOKENS]]
    assert [each["dims"] for each in config["output"]] == [[1], [1], [3]]


def test_configuration_and_metadata_agree(classifier: ServedClassifier) -> None:
    """The tensors of the configuration are those of the metadata without the batch dimension."""
    metadata = description.model_metadata(classifier, [1])
    config = description.model_config(classifier, 1024)
    kinds = {"BYTES": "TYPE_STRING", "INT32": "TYPE_INT32", "FP32": "TYPE_FP32"}
    for one, other in (("inputs", "input"), ("outputs", "output")):
        expected = [(each["name"], kinds[each["datatype"]], each["shape"][1:]) for each in metadata[one]]
        assert [(each["name"], each["data_type"], each["dims"]) for each in config[other]] == expected
    assert config["max_batch_size"] == 1024
    assert all(each["optional"] for each in config["input"])


def test_statistics(tickets: ServedClassifier) -> None:
    """The statistics have every duration from the start, including the response cache, and the version as a string."""
    document = description.model_statistics(tickets)
    stages = document.pop("inference_stats")
    assert document == {
        "name": "tickets",
        "version": "1",
        "last_inference": 0,
        "inference_count": 0,
        "execution_count": 0,
        "batch_stats": [],
    }
    assert list(stages) == [
        *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
    ]
    assert all(duration == {"count": 0, "ns": 0} for duration in stages.values())


def test_statistics_after_requests(tickets: ServedClassifier) -> None:
    """Rows and runs are counted separately, and a refused request counts only as a failure."""
    [prediction] = tickets.predict(["praise"])
    tickets.statistics.ran(41, 3)
    tickets.statistics.count([prediction] * 40, [1000], BatchTimes(started=1010, tokenize=20, infer=60), predicted=1100)
    tickets.statistics.count([prediction], [1000], BatchTimes(started=1000, tokenize=10, infer=45), predicted=1055)
    tickets.statistics.failed(7)
    document = description.model_statistics(tickets)
    assert (document["inference_count"], document["execution_count"]) == (41, 3)
    assert document["last_inference"] > 1_700_000_000_000
    stages = {name: (each["count"], each["ns"]) for name, each in document["inference_stats"].items()}
    assert stages == {
        "success": (2, 155),
        "fail": (1, 7),
        "queue": (2, 10),
        "compute_input": (2, 30),
        "compute_infer": (2, 105),
        "compute_output": (2, 10),
        "cache_hit": (0, 0),
        "cache_miss": (0, 0),
    }
