"""Version labels: every protocol that can name a version accepts a label, and all workers know the same labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from sentiment_conv1d.protos import inference_pb2 as oip
from sentiment_conv1d.protos import sentiment_pb2 as pb
from sentiment_conv1d.service.version_labels import parse_labels
from sentiment_conv1d.stubs import GRPCInferenceServiceStub, SentimentStub
from tests.proc import kill_children
from tests.processes import ServerProcess
from tests.service.artifacts import publish_strength
from tests.service.grpc.channels import connect

ROUTE = "/v2/repository/models/tickets/routing"

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


def test_changes_by_administration(tmp_path: Path) -> None:
    """All workers follow a change of labels, even workers that start later."""
    with serve(tmp_path) as server:
        check_administration(server)


def check_administration(server: ServerProcess) -> None:
    assert server.client.post(ROUTE).json() == {"labels": {"stable": 1, "canary": 2, "next": 4}}
    most = {"labels": {f"{'x' * 60}{number}": 1 for number in range(32)}}
    assert server.client.post(ROUTE, json=most).json() == most, "the most labels fit into a message"
    answer = server.client.post(ROUTE, json={"labels": {"stable": 3}})
    assert (answer.status_code, answer.json()) == (200, {"labels": {"stable": 3}})
    assert [typed(server, "stable") for _ in range(8)] == ["3"] * 8
    kill_children(server.process.pid)
    assert server.client.post(ROUTE).json() == {"labels": {"stable": 3}}
    assert [typed(server, "stable") for _ in range(8)] == ["3"] * 8


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"labels": {f"{'x' * 60}{number}": 1 for number in range(33)}}, "33 labels; the limit is 32"),
        ({"labels": {"x" * 65: 1}}, f"'{'x' * 65}' is not a label"),
        ({"labels": {"stable": 10**30}}, "label 'stable': "),
        ({"labels": {"stable": 9}}, "version '9' of model 'tickets' is not loaded"),
        ({"labels": {"default": 1, "next": 4}}, "version '4' of model 'tickets' is not loaded"),
        ({"labels": {"3": 1}}, "'3' is not a label"),
        ({"labels": {"stable": "1"}}, "labels.stable: "),
        ({"label": {"stable": 1}}, "label: unknown field"),
    ],
)
def test_rejected_labels(server: ServerProcess, body: Any, message: str) -> None:
    """If a label is invalid, or names a version that is not served, all labels of the request are rejected."""
    answer = server.client.post(ROUTE, json=body)
    assert answer.status_code in (400, 404) and answer.json()["error"].startswith(message)
    assert server.client.post(ROUTE).json() == {"labels": {"stable": 1, "canary": 2, "next": 4}}


def test_administration_is_off(tmp_path: Path) -> None:
    """Without `--admin`, callers cannot change the labels."""
    publish_strength(tmp_path, 1)
    with ServerProcess("--workers", "1", repository=tmp_path) as server:
        assert server.client.post(ROUTE, json={}).status_code == 403


def test_setting() -> None:
    """The setting contains the labels of several models."""
    assert parse_labels("imdb-cnn=stable:3,canary:4  tickets=stable:1") == {
        "imdb-cnn": {"stable": 3, "canary": 4},
        "tickets": {"stable": 1},
    }
    assert parse_labels("") == {}


@pytest.mark.parametrize(
    "text",
    [
        *("stable:3", "=stable:3", "../x=stable:3", "a=", "a=stable", "a=stable:", "a=:3", "a=stable:x", "a=stable:-1"),
        *("a=stable:3,", "a=stable:3,stable:4", "a=stable:3 a=canary:4", "a=stable:" + "9" * 19),
    ],
)
def test_invalid_settings(text: str) -> None:
    """Malformed labels, the same model twice, and the same label twice are rejected."""
    with pytest.raises(ValueError):
        parse_labels(text)


@pytest.mark.parametrize("label", ["stable", "a", "v4", "4a", "0-1", "_", "-", "x" * 64])
def test_label(label: str) -> None:
    """A label can contain lower-case letters, digits, hyphens and underscores."""
    assert parse_labels(f"tickets={label}:4") == {"tickets": {label: 4}}


@pytest.mark.parametrize(
    "labels", ["4:4", "007:4", "Stable:4", "st.able:4", "st/able:4", "ü:4", "x" * 65 + ":4", "a:0"]
)
def test_invalid_labels(labels: str) -> None:
    """A label cannot be a number, which would be a version, and a version cannot be 0. The error names the model."""
    with pytest.raises(ValueError, match="tickets: "):
        parse_labels(f"tickets={labels}")
