"""Two replicas on two nodes give the answers of the plain service, even if replicas and nodes are killed."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("ray", reason="Ray is not installed: make test-ray")

import grpc
import httpx
import numpy as np
import ray
import yaml
from ray import serve
from ray._common.utils import import_attr
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import ServeDeploySchema

from loadtest.stubs import GRPCInferenceServiceStub, SentimentStub
from sentiment_conv1d.model.artifact import copy
from sentiment_conv1d.protos import inference_pb2
from sentiment_conv1d.protos.sentiment_pb2 import ExplainRequest, PredictBatchRequest, PredictRequest
from sentiment_conv1d.scoring.session import Session
from tests.cluster.on_ray.conftest import OnRay
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT, ServerProcess
from tests.service import test_same_answers as ways
from tests.service.grpc.channels import connect, refused
from tests.service.reviews import reviews

TEXTS = reviews(500, seed=1)

#: The shipped models; requests get the classic one.
SHIPPED = {"model_repository": str(MODEL_REPOSITORY), "default_model": "imdb-cnn"}

#: Connections that send requests while something is killed.
CALLERS = 4


def expected() -> list[ways.Answer]:
    """Return the predictions of the model for `TEXTS`."""
    predictions = Session(str(MODEL_REPOSITORY / "imdb-cnn" / "1")).classifier().predict(TEXTS)
    return [ways.Answer(each.label, float(each.probabilities[1])) for each in predictions]


def grpc_open_inference(server: ServerProcess, texts: list[str]) -> Iterator[ways.Answer]:
    """Return the answers of the Open Inference Protocol over gRPC."""
    request = inference_pb2.ModelInferRequest(model_name="imdb-cnn")
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[len(texts), 1])
    tensor.contents.bytes_contents.extend(text.encode() for text in texts)
    with connect(server) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request)
    raw = dict(zip((output.name for output in answer.outputs), answer.raw_output_contents, strict=True))
    probabilities = np.frombuffer(raw["probabilities"], np.float32)
    labels, rest = [], raw["label"]
    while rest:  # each with its length in 4 bytes before it
        end = 4 + int.from_bytes(rest[:4], "little")
        labels.append(rest[4:end].decode())
        rest = rest[end:]
    yield from map(ways.Answer, labels, probabilities[1::2].tolist())


def test_same_answers(service: OnRay) -> None:
    """500 texts get the label and the probability of the plain service over each route and method."""
    right = expected()
    server = cast(ServerProcess, service)
    ask: Callable[[ServerProcess, list[str]], Iterator[ways.Answer]]
    for ask in (
        *(ways.predict, ways.predict_batch, ways.huggingface_client, ways.huggingface_list, ways.tei, ways.tei_batch),
        *(ways.tfserving_rows, ways.tfserving_columns, ways.sagemaker, ways.sagemaker_inputs, ways.open_inference),
        *(ways.grpc_predict, ways.grpc_batch, ways.grpc_stream, grpc_open_inference),
    ):
        answers = list(ask(server, TEXTS))
        assert [each.label for each in answers] == [each.label for each in right], ask.__name__
        assert max(abs(a.positive - b.positive) for a, b in zip(answers, right, strict=True)) <= 1e-6, ask.__name__


def test_requests(service: OnRay) -> None:
    """Request ids, errors, explanations, health and metrics are the same as in the plain service."""
    client, server = service.client, cast(ServerProcess, service)
    response = client.post("/v1/predict", json={"text": "good"}, headers={"x-request-id": "mine"})
    assert (response.status_code, response.headers["x-request-id"]) == (200, "mine")
    assert response.headers["x-content-type-options"] == "nosniff"
    refusal = client.post("/v1/predict", json={})
    assert refusal.status_code == 422
    assert refusal.json()["error"]["request_id"] == refusal.headers["x-request-id"]
    assert client.post("/v1/predict", json={"text": "x" * 1_000_001}).status_code == 413
    assert client.post("/v1/explain", json={"text": "good film"}).json()["words"][0]["text"] == "good"
    assert client.get("/readyz").status_code == client.get("/docs").status_code == 200
    assert client.post("/v2/repository/models/imdb-cnn/unload").status_code == 403
    with connect(server) as channel:
        stub = SentimentStub(channel)
        _, call = stub.Predict.with_call(PredictRequest(text="good"), metadata=[("x-request-id", "mine")])
        assert ("x-request-id", "mine") in call.trailing_metadata()
        assert stub.Explain(ExplainRequest(text="good film")).words[0].text == "good"
        found = refused(lambda: stub.Predict(PredictRequest(text="good", model="other")))
        assert found.code is grpc.StatusCode.NOT_FOUND and "other" in found.message
        assert b"ErrorInfo" in found.metadata["grpc-status-details-bin"]
        late = refused(lambda: stub.Predict(PredictRequest(text="good"), timeout=1e-4))
        assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert GRPCInferenceServiceStub(channel).ServerReady(inference_pb2.ServerReadyRequest()).ready
    for _ in range(50):
        client.post("/v1/explain", json={"text": "good"})

    def counted() -> float:
        lines = client.get("/metrics").text.splitlines()
        wanted = (
            'sentiment_requests_total{protocol="rest",route="/v1/explain",model="imdb-cnn",version="1",status="200"}'
        )
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))

    wait_until(lambda: counted() == 51)  # replicas tell each other their counts every few seconds


class Load:
    """Callers over REST and gRPC that compare every answer with the correct one."""

    def __init__(self, service: OnRay, callers: int = CALLERS) -> None:
        self._service = service
        self._right = [answer.positive for answer in expected()]
        self._stop = threading.Event()
        self.statuses: Counter[str] = Counter()
        self.wrong = 0
        self._threads = [
            threading.Thread(target=target, args=(number,))
            for number in range(callers // 2)
            for target in (self._call_rest, self._call_grpc)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def wait_for(self, answers: int) -> None:
        """Wait for a number of further answers."""
        goal, deadline = self.statuses["200"] + answers, time.monotonic() + 2 * PATIENCE
        while self.statuses["200"] < goal:
            assert time.monotonic() < deadline, self.statuses
            time.sleep(0.05)

    def _count(self, status: str, number: int, positive: float | None) -> None:
        self.statuses[status] += 1
        self.wrong += positive is not None and abs(positive - self._right[number]) > 1e-6

    def _call_rest(self, number: int) -> None:
        with httpx.Client(base_url=self._service.url, timeout=PATIENCE, trust_env=False) as client:
            while not self._stop.is_set():
                number = (number + 7) % len(TEXTS)
                response = client.post("/v1/predict", json={"text": TEXTS[number]})
                ok = response.status_code == 200
                self._count(
                    str(response.status_code), number, response.json()["probabilities"]["positive"] if ok else None
                )

    def _call_grpc(self, number: int) -> None:
        with connect(cast(ServerProcess, self._service)) as channel:
            stub = SentimentStub(channel)
            while not self._stop.is_set():
                number = (number + 11) % len(TEXTS)
                try:
                    answer = stub.Predict(PredictRequest(text=TEXTS[number]), timeout=PATIENCE)
                except grpc.RpcError as error:
                    failed: Any = error
                    self._count(failed.code().name, number, None)
                else:
                    self._count("200", number, answer.probabilities[1].probability)


def running() -> int:
    """Return the running replicas."""
    states: dict[str, int] = serve.status().applications["default"].deployments["sentiment"].replica_states
    return states.get("RUNNING", 0)


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until a condition on the cluster is true."""
    deadline = time.monotonic() + 2 * PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("killed", ["replica", "node"])
def test_killed_under_load(service: OnRay, killed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No answer is wrong, and only requests in the killed replica fail, each with a status."""
    with Load(service) as load:
        load.wait_for(200)
        if killed == "replica":
            actors = [name for name in ray.util.list_named_actors(all_namespaces=True) if "sentiment#" in name["name"]]
            assert len(actors) == 2
            ray.kill(ray.get_actor(actors[0]["name"], namespace=actors[0]["namespace"]))
        else:
            service.cluster.remove_node(service.second_node, allow_graceful=False)
            wait_until(lambda: running() < 2)
        load.wait_for(200)
        wait_until(lambda: killed == "node" or running() == 2)
        load.wait_for(200)
    failed = sum(load.statuses.values()) - load.statuses["200"]
    with capsys.disabled():
        print(f"\n{killed} killed under load: {dict(load.statuses)}, wrong answers: {load.wrong}")
    assert load.wrong == 0
    assert failed <= CALLERS * 2, load.statuses
    assert set(load.statuses) <= {"200", "429", "500", "503", "INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED"}


def test_configuration() -> None:
    """Ray accepts deploy/ray/serve.yaml and can import its targets."""
    configuration = ServeDeploySchema.model_validate(yaml.safe_load((PROJECT / "deploy/ray/serve.yaml").read_text()))
    [application] = configuration.applications
    assert import_attr(application.import_path)(application.args) is not None
    assert configuration.grpc_options is not None
    for path in configuration.grpc_options.grpc_servicer_functions:
        assert callable(import_attr(path))


def test_autoscaling(service: OnRay) -> None:
    """Ray starts a second replica under load and stops it after the load, without a failed request."""
    scaling = AutoscalingConfig(
        min_replicas=1,
        max_replicas=2,
        target_ongoing_requests=2,
        metrics_interval_s=0.5,
        look_back_period_s=2,
        upscale_delay_s=1,
        downscale_delay_s=1,
    )
    deploy(SHIPPED, autoscaling_config=scaling)
    with Load(service, callers=2) as light:
        wait_until(lambda: running() == 1)
        with Load(service, callers=6) as heavy:
            wait_until(lambda: running() == 2)
            heavy.wait_for(100)
        wait_until(lambda: running() == 1)
        light.wait_for(50)
    assert light.wrong == heavy.wrong == 0
    assert set(light.statuses) == set(heavy.statuses) == {"200"}


def test_new_model_versions(service: OnRay, tmp_path: Path) -> None:
    """Replicas follow the model repository, and a redeployment changes the labels, without a failed request."""
    shutil.copytree(MODEL_REPOSITORY / "imdb-cnn", tmp_path / "imdb-cnn")
    arguments = {"model_repository": str(tmp_path), "watch_interval": "0.5", "versions": "all"}
    deploy(arguments, num_replicas=1)

    def version() -> str:
        answer = service.client.post("/v1/predict", json={"text": "good"}).json()
        found: str = answer["model"]["version"]
        return found

    assert version() == "1"
    with Load(service) as load:
        copy(tmp_path / "imdb-cnn" / "1", tmp_path / "imdb-cnn" / "2")
        wait_until(lambda: version() == "2")
        deploy(arguments | {"version_labels": "imdb-cnn=default:1"}, num_replicas=1)
        wait_until(lambda: version() == "1")
        load.wait_for(50)
    assert load.wrong == 0
    assert set(load.statuses) == {"200"}


def test_overload(service: OnRay) -> None:
    """Requests over the capacity get 429 and Retry-After, or RESOURCE_EXHAUSTED, and all others are answered."""
    deploy(SHIPPED, num_replicas=1, max_ongoing_requests=1, max_queued_requests=1)

    def ask(_: int) -> httpx.Response:
        return service.client.post("/v1/predict_batch", json={"texts": TEXTS})

    with connect(cast(ServerProcess, service)) as channel:
        stub = SentimentStub(channel)

        def call(_: int) -> str:
            try:
                stub.PredictBatch(PredictBatchRequest(texts=TEXTS), timeout=PATIENCE)
            except grpc.RpcError as error:
                failed: Any = error
                return str(failed.code().name)
            return "OK"

        with ThreadPoolExecutor(16) as threads:
            responses = list(threads.map(ask, range(32)))
            codes = set(threads.map(call, range(32)))
    assert {response.status_code for response in responses} == {200, 429}
    refusals = [response for response in responses if response.status_code == 429]
    assert {response.headers["retry-after"] for response in refusals} == {"1"}
    assert codes == {"OK", "RESOURCE_EXHAUSTED"}


def deploy(arguments: dict[str, str], **options: Any) -> None:
    """Deploy the application again."""
    from sentiment_conv1d.cluster.application import deployment

    serve.run(deployment.options(**{"autoscaling_config": None, **options}).bind(arguments), route_prefix="/")
