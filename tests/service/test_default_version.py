"""The version with the label `default` answers and describes the requests that name none, and only that version."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from tensorflow_serving.apis import classification_pb2, get_model_metadata_pb2
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from sentiment_conv1d.artifact.artifact import copy
from sentiment_conv1d.artifact.manifest import GRAPH_FILE
from sentiment_conv1d.protos import inference_pb2 as oip
from sentiment_conv1d.protos import sentiment_pb2 as pb
from sentiment_conv1d.stubs import GRPCInferenceServiceStub, SentimentStub
from tests.faults.services import damage
from tests.proc import kill_children
from tests.processes import CLASSIC_REPOSITORY, ServerProcess, run
from tests.service.artifacts import publish_strength
from tests.service.grpc.channels import connect, refused
from tests.service.process.test_supervisor import versions
from tests.service.telemetry.test_metrics import metric

ROUTE = "/v2/repository/models/tickets/routing"
REASON = "tickets: version 1, labelled 'default', is not served"

FLAGS = ("--workers", "2", "--versions", "all", "--watch-interval", "0.1", "--admin", "open")
DEFAULT = ("--version-labels", "tickets=default:1")

TENSOR = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["praise"]}
IDS = {"name": "tokens", "datatype": "INT32", "shape": [1, 2], "data": [1, 4]}

#: Requests that name no version.
UNVERSIONED: dict[str, Any] = {
    "/v1/predict": {"text": "praise"},
    "/v1/predict_batch": {"texts": ["praise"], "model": "tickets"},
    "/v1/explain": {"text": "praise"},
    "/v1/inspect": {"text": "praise"},
    "/v2/models/tickets/infer": {"inputs": [TENSOR]},
    "/v2/models/tickets/infer?ids": {"inputs": [IDS]},
    "/v1/models/tickets:predict": {"instances": ["praise"]},
    "/": {"inputs": "praise"},
    "/predict": {"inputs": "praise"},
    "/invocations": {"inputs": "praise"},
    "/classify": {"input": "praise", "model": "tickets"},
    "/v1/classify": {"input": "praise"},
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Create a repository with versions 1, 2 and 3."""
    for strength in (1, 2, 3):
        publish_strength(tmp_path, strength)
    return tmp_path


@pytest.fixture
def server(repository: Path) -> Iterator[ServerProcess]:
    """Serve all versions. Version 1 has the label `default`."""
    with ServerProcess(*FLAGS, *DEFAULT, repository=repository) as process:
        yield process


@pytest.fixture(scope="module")
def constant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serve a model with explanations in the same way, for tests that change nothing."""
    repository = tmp_path_factory.mktemp("repository")
    for version in "123":
        copy(CLASSIC_REPOSITORY / "imdb-cnn" / "1", repository / "tickets" / version)
    with ServerProcess(*FLAGS, *DEFAULT, repository=repository) as process:
        yield process


def missing(server: ServerProcess, **labels: str) -> float:
    return metric(server, "sentiment_labelled_version_missing", **labels)


def stated(answer: Any) -> str:
    """Return the version that a REST answer states in its headers or body."""
    if (version := answer.headers.get("x-model-version")) is not None:
        return str(version)
    body = answer.raise_for_status().json()
    if "model_version" in body:
        return str(body["model_version"])
    found = body.get("explanation", body)
    found = found.get("prediction", found)
    found = found.get("predictions", [found])[0]
    return str(found["model"]["version"])


def described(path: str, *keys: str) -> Callable[[ServerProcess], str]:
    """Return a caller of a description, which states the version under some keys."""

    def ask(server: ServerProcess) -> str:
        found = server.client.get(path).raise_for_status().json()
        for key in keys:
            found = found[key]
        return str(found)

    return ask


def typed(server: ServerProcess) -> str:
    with connect(server) as channel:
        return str(SentimentStub(channel).Predict(pb.PredictRequest(text="praise")).version)


def typed_batch(server: ServerProcess) -> str:
    with connect(server) as channel:
        return str(SentimentStub(channel).PredictBatch(pb.PredictBatchRequest(texts=["praise"])).predictions[0].version)


def typed_explanation(server: ServerProcess) -> str:
    with connect(server) as channel:
        return str(SentimentStub(channel).Explain(pb.ExplainRequest(text="praise")).prediction.version)


def open_inference_grpc(server: ServerProcess) -> str:
    tensor = oip.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1, 1])
    tensor.contents.bytes_contents.append(b"praise")
    with connect(server) as channel:
        request = oip.ModelInferRequest(model_name="tickets", inputs=[tensor])
        return str(GRPCInferenceServiceStub(channel).ModelInfer(request).model_version)


def tfserving_grpc(server: ServerProcess) -> str:
    request = classification_pb2.ClassificationRequest()
    request.input.example_list.examples.add().features.feature["text"].bytes_list.value.append(b"praise")
    with connect(server) as channel:
        return str(PredictionServiceStub(channel).Classify(request).model_spec.version.value)


def tfserving_metadata_grpc(server: ServerProcess) -> str:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    with connect(server) as channel:
        return str(PredictionServiceStub(channel).GetModelMetadata(request).model_spec.version.value)


OTHERS = (
    *(typed, typed_batch, typed_explanation, open_inference_grpc, tfserving_grpc, tfserving_metadata_grpc),
    described("/v1/models/tickets", "version"),
    described("/v1/models/tickets/metadata", "model_spec", "version"),
    described("/info", "model_sha"),
)


@pytest.mark.parametrize("path", UNVERSIONED)
def test_rest_answers(constant: ServerProcess, path: str) -> None:
    """The version answers over REST, whichever worker gets the request, although newer ones are served."""
    assert [stated(constant.client.post(path, json=UNVERSIONED[path])) for _ in range(4)] == ["1"] * 4


@pytest.mark.parametrize("ask", OTHERS)
def test_grpc_answers_and_descriptions(constant: ServerProcess, ask: Callable[[ServerProcess], str]) -> None:
    """The version answers over gRPC, and descriptions of the model describe it."""
    assert [ask(constant) for _ in range(4)] == ["1"] * 4


def test_damaged_version(repository: Path) -> None:
    """All workers reject requests that name no version until the version is repaired. Others are answered."""
    graph = repository / "tickets" / "1" / GRAPH_FILE
    whole = damage(graph)
    with ServerProcess(*FLAGS, *DEFAULT, repository=repository) as server, connect(server) as channel:
        server.wait_for_log(f"WARNING .*{REASON}")
        for _ in range(2):
            assert versions(server, 8) == {"503": 8}
            ready = server.client.get("/readyz")
            assert (ready.status_code, ready.json()["error"]["message"]) == (503, REASON)
            kill_children(server.process.pid)
        for path, body in UNVERSIONED.items():
            answer = server.client.post(path, json=body)
            assert answer.status_code == 503 and REASON in answer.text, path
        stub: Any = SentimentStub(channel)
        refusal = refused(lambda: stub.Predict(pb.PredictRequest(text="praise")))
        assert refusal.code is grpc.StatusCode.UNAVAILABLE and refusal.message.startswith(REASON)
        assert stub.Predict(pb.PredictRequest(text="praise", version="2")).version == "2"
        assert len(server.client.get("/v2/models/tickets/stats").json()["model_stats"]) == 2
        health: Any = HealthStub(channel)
        assert health.Check(HealthCheckRequest()).status == HealthCheckResponse.NOT_SERVING
        assert missing(server, model="tickets", version="1", label="default") == 1

        graph.write_bytes(whole)
        server.wait_for_log("serving tickets version=1")
        assert versions(server, 8) == {"1": 8}
        assert server.client.get("/readyz").status_code == 200
        assert missing(server) == 0


def test_change_to_a_served_version(repository: Path) -> None:
    """Moving the label makes the service ready, although the default model answers no requests before."""
    shutil.rmtree(repository / "tickets" / "1")
    with ServerProcess(*FLAGS, *DEFAULT, repository=repository) as server:
        server.client.post(ROUTE, json={"labels": {"default": 2}}).raise_for_status()
        assert versions(server, 8) == {"2": 8}
        kill_children(server.process.pid)
        assert versions(server, 8) == {"2": 8}
        assert server.client.get("/readyz").status_code == 200


def test_removed_version(server: ServerProcess, repository: Path) -> None:
    """The version stays while its folder is gone, until the label moves to another one."""
    shutil.rmtree(repository / "tickets" / "1")
    server.wait_for_log("contains no version 1 of 'tickets' any more; it stays for its label 'default'")
    assert versions(server, 8) == {"1": 8}
    kill_children(server.process.pid)
    assert versions(server, 8) == {"1": 8}
    server.client.post(ROUTE, json={"labels": {"default": 3}}).raise_for_status()
    assert versions(server, 8) == {"3": 8}
    server.wait_for_log("stopped serving a version of tickets version=1")


def test_unloaded_version(server: ServerProcess, repository: Path) -> None:
    """After an unload, no version answers until the version with the label is loaded again."""
    away = (repository / "tickets" / "1").rename(repository / "away")
    server.client.post("/v2/repository/models/tickets/unload").raise_for_status()
    assert versions(server, 4) == {"404": 4}
    assert "sentiment_labelled_version_missing{" not in server.metrics()  # it was asked for
    server.client.post("/v2/repository/models/tickets/load").raise_for_status()
    assert versions(server, 8) == {"503": 8}
    away.rename(repository / "tickets" / "1")
    server.client.post("/v2/repository/models/tickets/load").raise_for_status()
    assert versions(server, 8) == {"1": 8}


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("tickets=default:9", "tickets: version 9, labelled 'default', is not served"),
        ("tikets=default:1", "tikets: version 1, labelled 'default', is not served"),
    ],
)
def test_typo(repository: Path, labels: str, reason: str) -> None:
    """A version or model that does not exist keeps the service from becoming ready, or with --strict from starting."""
    flags = ("--versions", "all", "--version-labels", labels)
    with ServerProcess(*flags, repository=repository) as server:
        assert server.client.get("/readyz").json()["error"]["message"] == reason
    result = run("-m", "service", "serve", *flags, "--strict", "--port", "0", "--model-repository", str(repository))
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == f"error: --strict: {reason}"


def test_other_labels(repository: Path) -> None:
    """Other labels have no effect on answers and readiness, but a metric and the log show that a version is missing."""
    with ServerProcess(*FLAGS, "--version-labels", "tickets=default:3,next:4", repository=repository) as server:
        server.wait_for_log("WARNING .*tickets: version 4, labelled 'next', is not served")
        assert server.client.get("/readyz").status_code == 200
        assert versions(server, 4) == {"3": 4}
        assert missing(server, version="4", label="next") == 1
        assert missing(server, version="3", label="default") == 0
