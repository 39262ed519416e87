"""Version labels: every protocol that can name a version accepts a label, and all workers know the same labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from loadtest.stubs import GRPCInferenceServiceStub, SentimentStub
from sentiment_conv1d.protos import inference_pb2 as oip
from sentiment_conv1d.protos import sentiment_pb2 as pb
from tests.proc import kill_children
from tests.processes import ServerProcess
from tests.service.artifacts import publish_strength
from tests.service.grpc.channels import connect

TENSOR = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["praise"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serve versions and labels for tests that do not change them."""
    with serve(tmp_path_factory.mktemp("repository")) as process:
        yield process


def serve(repository: Path) -> ServerProcess:
    """Serve versions 1, 2 and 3 with two workers. The label `next` names a version that does not exist."""
    for strength in (1, 2, 3):
        publish_strength(repository, strength)
    labels = "tickets=stable:1,canary:2,next:4"
    flags = ("--workers", "2", "--versions", "all", "--version-labels", labels, "--admin", "open")
    return ServerProcess(*flags, repository=repository)


def native(server: ServerProcess, version: str) -> str:
    answer = server.client.post("/v1/predict", json={"text": "praise", "version": version}).raise_for_status()
    return str(answer.json()["model"]["version"])


def native_batch(server: ServerProcess, version: str) -> str:
    body = {"texts": ["praise", "question"], "model": "tickets", "version": version}
    [found] = {
        each["model"]["version"] for each in server.client.post("/v1/predict_batch", json=body).json()["predictions"]
    }
    return str(found)


def open_inference(server: ServerProcess, version: str) -> str:
    answer = server.client.post(f"/v2/models/tickets/versions/{version}/infer", json={"inputs": [TENSOR]})
    return str(answer.raise_for_status().json()["model_version"])


def statistics(server: ServerProcess, version: str) -> str:
    [found] = server.client.get(f"/v2/models/tickets/versions/{version}/stats").json()["model_stats"]
    return str(found["version"])


def tfserving_label(server: ServerProcess, version: str) -> str:
    answer = server.client.post(f"/v1/models/tickets/labels/{version}:predict", json={"instances": ["praise"]})
    return answer.raise_for_status().headers["x-model-version"]


def tfserving_version(server: ServerProcess, version: str) -> str:
    answer = server.client.post(f"/v1/models/tickets/versions/{version}:predict", json={"instances": ["praise"]})
    return answer.raise_for_status().headers["x-model-version"]


def tfserving_metadata(server: ServerProcess, version: str) -> str:
    return str(server.client.get(f"/v1/models/tickets/labels/{version}/metadata").json()["model_spec"]["version"])


def tfserving_status(server: ServerProcess, version: str) -> str:
    [found] = server.client.get(f"/v1/models/tickets/labels/{version}").json()["model_version_status"]
    return str(found["version"])


def typed(server: ServerProcess, version: str) -> str:
    with connect(server) as channel:
        stub: Any = SentimentStub(channel)
        return str(stub.Predict(pb.PredictRequest(text="praise", version=version)).version)


def open_inference_grpc(server: ServerProcess, version: str) -> str:
    tensor = oip.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1, 1])
    tensor.contents.bytes_contents.append(b"praise")
    with connect(server) as channel:
        stub: Any = GRPCInferenceServiceStub(channel)
        request = oip.ModelInferRequest(model_name="tickets", model_version=version, inputs=[tensor])
        return str(stub.ModelInfer(request).model_version)


def tfserving_grpc(server: ServerProcess, version: str) -> str:
    request = classification_pb2.ClassificationRequest()
    if version.isdigit():
        request.model_spec.version.value = int(version)
    else:
        request.model_spec.version_label = version
    request.input.example_list.examples.add().features.feature["text"].bytes_list.value.append(b"praise")
    with connect(server) as channel:
        return str(PredictionServiceStub(channel).Classify(request).model_spec.version.value)


Ask = Callable[[ServerProcess, str], str]
PROTOCOLS: tuple[Ask, ...] = (
    *(native, native_batch, open_inference, statistics, typed, open_inference_grpc, tfserving_grpc),
    *(tfserving_label, tfserving_version, tfserving_metadata, tfserving_status),
)


@pytest.mark.parametrize("ask", PROTOCOLS)
def test_every_protocol(server: ServerProcess, ask: Ask) -> None:
    """A label works like the number of its version, and the answer states the number."""
    assert [ask(server, version) for version in ("stable", "1", "canary")] == ["1", "1", "2"]


def test_models_list_their_labels(server: ServerProcess) -> None:
    """`/v1/models` states the labels of every version that is served."""
    models = server.client.get("/v1/models").json()["models"]
    assert {each["version"]: each["version_labels"] for each in models} == {"1": ["stable"], "2": ["canary"], "3": []}


def test_label_of_a_version_that_is_not_served(server: ServerProcess) -> None:
    """The error names the label and its version, and lists the served versions with their labels."""
    answer = server.client.post("/v1/predict", json={"text": "praise", "version": "next"})
    message = answer.json()["error"]["message"]
    assert (answer.status_code, message) == (
        404,
        "version 4, labelled 'next', of model 'tickets' is not loaded; loaded: 1 (stable), 2 (canary), 3",
    )
    with pytest.raises(grpc.RpcError, match="version 'beta' of model 'tickets' is not loaded"):
        typed(server, "beta")


def test_routing_by_administration(tmp_path: Path) -> None:
    """All workers follow a change of labels, even workers that start later."""
    with serve(tmp_path) as server:
        check_administration(server)


def check_administration(server: ServerProcess) -> None:
    route = "/v2/repository/models/tickets/routing"
    before = server.client.post(route).json()["labels"]
    assert before == {"stable": 1, "canary": 2, "next": 4}
    most = {f"{'x' * 60}{number}": 1 for number in range(32)}
    rules = {"labels": most, "split": dict.fromkeys(most, 10**6), "shadow": {"1": 100}}
    assert server.client.post(route, json=rules).json() == rules, "the largest rules fit into a message"
    assert server.client.post(route, json={"split": {}, "shadow": {}}).json()["labels"] == most
    answer = server.client.post(route, json={"labels": {"stable": 3}})
    assert (answer.status_code, answer.json()["labels"]) == (200, {"stable": 3})
    assert [typed(server, "stable") for _ in range(8)] == ["3"] * 8
    kill_children(server.process.pid)
    assert server.client.post(route).json()["labels"] == {"stable": 3}
    assert [typed(server, "stable") for _ in range(8)] == ["3"] * 8


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"labels": {f"{'x' * 60}{number}": 1 for number in range(33)}}, "labels: 33 entries; the limit is 32"),
        ({"labels": {"x" * 65: 1}}, f"'{'x' * 65}' is not a label"),
        ({"labels": {"stable": 10**30}}, "label 'stable': "),
        ({"split": {"stable": 1, "9": 1}}, "version '9' of model 'tickets' is not loaded"),
        ({"split": {"beta": 1}}, "'beta' is neither a version nor a label"),
        ({"split": {"1": -1}}, "split: '1' has the weight -1"),
        ({"labels": {}, "split": {"stable": 1}}, "'stable' is neither a version nor a label"),
        ({"labels": {"stable": 9}}, "version '9' of model 'tickets' is not loaded"),
        ({"labels": {"3": 1}}, "'3' is not a label"),
        ({"labels": {"stable": "1"}}, "labels.stable: "),
        ({"label": {"stable": 1}}, "label: unknown field"),
    ],
)
def test_rejected_rules(server: ServerProcess, body: Any, message: str) -> None:
    """If a rule is invalid, or names a version that is not served, all rules of the request are rejected."""
    answer = server.client.post("/v2/repository/models/tickets/routing", json=body)
    assert answer.status_code in (400, 404) and answer.json()["error"].startswith(message)


def test_administration_is_off(tmp_path: Path) -> None:
    """Without `--admin`, callers cannot change the routing."""
    publish_strength(tmp_path, 1)
    with ServerProcess("--workers", "1", repository=tmp_path) as server:
        assert server.client.post("/v2/repository/models/tickets/routing", json={}).status_code == 403
