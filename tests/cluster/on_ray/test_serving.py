"""Two replicas on two nodes give the answers of the plain service, even if replicas and nodes are killed."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("ray", reason="Ray is not installed: make test-ray")

import httpx
import ray
import yaml
from ray import serve
from ray._common.utils import import_attr
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import ServeDeploySchema

from sentiment_conv1d.artifact.artifact import copy
from sentiment_conv1d.scoring.session import Session
from tests.cluster.on_ray.conftest import ARGUMENTS, OnRay
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT, ServerProcess
from tests.service import test_same_answers as ways
from tests.service.reviews import reviews

TEXTS = reviews(500, seed=1)

#: Connections that send requests while something is killed.
CALLERS = 4


def expected() -> list[ways.Answer]:
    """Return the predictions of the model for `TEXTS`."""
    predictions = Session(str(MODEL_REPOSITORY / "imdb-cnn" / "1")).classifier().predict(TEXTS)
    return [ways.Answer(each.label, float(each.probabilities[1])) for each in predictions]


def test_same_answers(service: OnRay) -> None:
    """500 texts get the label and the probability of the plain service over each route."""
    right = expected()
    server = cast(ServerProcess, service)
    ask: Callable[[ServerProcess, list[str]], Iterator[ways.Answer]]
    for ask in (
        *(ways.predict, ways.predict_batch, ways.huggingface_client, ways.huggingface_list, ways.tei, ways.tei_batch),
        *(ways.tfserving_rows, ways.tfserving_columns, ways.sagemaker, ways.sagemaker_inputs, ways.open_inference),
    ):
        answers = list(ask(server, TEXTS))
        assert [each.label for each in answers] == [each.label for each in right], ask.__name__
        assert max(abs(a.positive - b.positive) for a, b in zip(answers, right, strict=True)) <= 1e-6, ask.__name__


def test_requests(service: OnRay) -> None:
    """Request ids, errors, explanations and health are those of the plain service, and metrics name their replica."""
    client = service.client
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

    assert len(set(re.findall(r'replica="(\w+)"', client.get("/metrics").text))) == 1


class Load:
    """Callers that compare every answer with the correct one."""

    def __init__(self, service: OnRay, callers: int = CALLERS) -> None:
        self._service = service
        self._right = [answer.positive for answer in expected()]
        self._stop = threading.Event()
        self.statuses: Counter[str] = Counter()
        self.wrong = 0
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(callers)]

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

    def _call(self, number: int) -> None:
        with httpx.Client(base_url=self._service.url, timeout=PATIENCE, trust_env=False) as client:
            while not self._stop.is_set():
                number = (number + 7) % len(TEXTS)
                response = client.post("/v1/predict", json={"text": TEXTS[number]})
                ok = response.status_code == 200
                self._count(
                    str(response.status_code), number, response.json()["probabilities"]["positive"] if ok else None
                )


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
    assert set(load.statuses) <= {"200", "429", "500", "503"}


def test_configuration() -> None:
    """Ray accepts deploy/ray/serve.yaml and can import its target."""
    configuration = ServeDeploySchema.model_validate(yaml.safe_load((PROJECT / "deploy/ray/serve.yaml").read_text()))
    [application] = configuration.applications
    assert import_attr(application.import_path)(application.args) is not None


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
    deploy(ARGUMENTS, autoscaling_config=scaling)
    with Load(service, callers=2) as light:
        wait_until(lambda: running() == 1)
        with Load(service, callers=6) as heavy:
            wait_until(lambda: running() == 2)
            heavy.wait_for(100)
        wait_until(lambda: running() == 1)
        light.wait_for(50)
    assert light.wrong == heavy.wrong == 0
    assert set(light.statuses) == set(heavy.statuses) == {"200"}


def test_new_version(service: OnRay, tmp_path: Path) -> None:
    """A deployment with another version replaces the replicas without a failed request."""
    copy(MODEL_REPOSITORY / "imdb-cnn" / "1", tmp_path / "imdb-cnn" / "2")

    def version() -> str:
        answer = service.client.post("/v1/predict", json={"text": "good"}).json()
        found: str = answer["model"]["version"]
        return found

    assert version() == "1"
    with Load(service) as load:
        deploy({"model": str(tmp_path / "imdb-cnn" / "2")}, num_replicas=1)
        wait_until(lambda: version() == "2")
        load.wait_for(50)
    assert load.wrong == 0
    assert set(load.statuses) == {"200"}


def test_overload(service: OnRay) -> None:
    """Requests over the capacity get 429 and Retry-After, and all others are answered."""
    deploy(ARGUMENTS, num_replicas=1, max_ongoing_requests=1, max_queued_requests=1)

    def ask(_: int) -> httpx.Response:
        return service.client.post("/v1/predict_batch", json={"texts": TEXTS})

    with ThreadPoolExecutor(16) as threads:
        responses = list(threads.map(ask, range(32)))
    assert {response.status_code for response in responses} == {200, 429}
    refusals = [response for response in responses if response.status_code == 429]
    assert {response.headers["retry-after"] for response in refusals} == {"1"}


def deploy(arguments: dict[str, str], **options: Any) -> None:
    """Deploy the application again."""
    from sentiment_conv1d.cluster.application import deployment

    serve.run(deployment.options(**{"autoscaling_config": None, **options}).bind(arguments), route_prefix="/")
