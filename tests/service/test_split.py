"""Requests that name no version are split equally in every protocol and all workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from loadtest.stubs import GRPCInferenceServiceStub, SentimentStub
from sentiment_conv1d.protos import inference_pb2 as oip
from sentiment_conv1d.protos import sentiment_pb2 as pb
from tests.processes import ServerProcess
from tests.service.artifacts import publish_strength
from tests.service.grpc.channels import connect

TEXTS = [f"praise {number}" for number in range(12)]
KEYS = [f"caller-{number}" for number in range(12)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run two workers that split requests between two of three versions."""
    repository = tmp_path_factory.mktemp("repository")
    for strength in (1, 2, 3):
        publish_strength(repository, strength)
    flags = ("--workers", "2", "--versions", "all", "--split", "tickets=1:50,2:50")
    with ServerProcess(*flags, repository=repository) as process:
        yield process


def native(server: ServerProcess, text: str, key: dict[str, str]) -> str:
    answer = server.client.post("/v1/predict", json={"text": text}, headers=key).raise_for_status()
    return str(answer.json()["model"]["version"])


def native_batch(server: ServerProcess, text: str, key: dict[str, str]) -> str:
    body = {"texts": [text], "model": "tickets"}
    answer = server.client.post("/v1/predict_batch", json=body, headers=key).raise_for_status()
    return str(answer.json()["predictions"][0]["model"]["version"])


def open_inference(server: ServerProcess, text: str, key: dict[str, str]) -> str:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": [text]}
    answer = server.client.post("/v2/models/tickets/infer", json={"inputs": [tensor]}, headers=key)
    return str(answer.raise_for_status().json()["model_version"])


def by_header(path: str, body: Callable[[str], Any]) -> Callable[[ServerProcess, str, dict[str, str]], str]:
    """Return a caller of a protocol whose answers state the version in a header."""

    def ask(server: ServerProcess, text: str, key: dict[str, str]) -> str:
        return server.client.post(path, json=body(text), headers=key).raise_for_status().headers["x-model-version"]

    return ask


def typed(server: ServerProcess, text: str, key: dict[str, str]) -> str:
    with connect(server) as channel:
        stub: Any = SentimentStub(channel)
        return str(stub.Predict(pb.PredictRequest(text=text), metadata=tuple(key.items())).version)


def typed_batch(server: ServerProcess, text: str, key: dict[str, str]) -> str:
    with connect(server) as channel:
        stub: Any = SentimentStub(channel)
        answer = stub.PredictBatch(pb.PredictBatchRequest(texts=[text]), metadata=tuple(key.items()))
        return str(answer.predictions[0].version)


def open_inference_grpc(server: ServerProcess, text: str, key: dict[str, str]) -> str:
    tensor = oip.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1, 1])
    tensor.contents.bytes_contents.append(text.encode())
    with connect(server) as channel:
        stub: Any = GRPCInferenceServiceStub(channel)
        request = oip.ModelInferRequest(model_name="tickets", inputs=[tensor])
        return str(stub.ModelInfer(request, metadata=tuple(key.items())).model_version)


def tfserving_grpc(server: ServerProcess, text: str, key: dict[str, str]) -> str:
    request = classification_pb2.ClassificationRequest()
    request.input.example_list.examples.add().features.feature["text"].bytes_list.value.append(text.encode())
    with connect(server) as channel:
        answer = PredictionServiceStub(channel).Classify(request, metadata=tuple(key.items()))
        return str(answer.model_spec.version.value)


OTHERS = (
    *(native_batch, open_inference, typed, typed_batch, open_inference_grpc, tfserving_grpc),
    by_header("/v1/models/tickets:predict", lambda text: {"instances": [text]}),
    by_header("/v1/classify", lambda text: {"input": text}),
    by_header("/", lambda text: {"inputs": text}),
    by_header("/predict", lambda text: {"inputs": text}),
    by_header("/invocations", lambda text: {"instances": [text]}),
)


@pytest.mark.parametrize("ask", OTHERS)
def test_every_protocol(server: ServerProcess, ask: Callable[[ServerProcess, str, dict[str, str]], str]) -> None:
    """The same text, or the same routing key, gets the same version over every protocol and connection."""
    by_text = [native(server, text, {}) for text in TEXTS]
    assert set(by_text) == {"1", "2"}
    assert [ask(server, text, {}) for text in TEXTS] == by_text
    keys: list[dict[str, str]] = [{"x-routing-key": key} for key in KEYS]
    by_key = [native(server, "praise", key) for key in keys]
    assert set(by_key) == {"1", "2"}
    assert [ask(server, "question", key) for key in keys] == by_key


def test_batch(server: ServerProcess) -> None:
    """All texts of a batch get one version."""
    for text in TEXTS:
        answer = server.client.post("/v1/predict_batch", json={"texts": [text, *TEXTS]}).json()
        assert len({each["model"]["version"] for each in answer["predictions"]}) == 1
