"""A rollout under load, from shadow version to default and back, loses no request, and all counts agree."""

from __future__ import annotations

import queue
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from loadtest.stubs import SentimentStub
from sentiment_conv1d.protos import sentiment_pb2 as pb
from tests.proc import kill_children
from tests.processes import PATIENCE, ServerProcess, eventually
from tests.service.artifacts import probabilities, publish_strength
from tests.service.callers import Callers
from tests.service.grpc.channels import connect
from tests.service.process.test_supervisor import versions
from tests.service.telemetry.test_metrics import metric, series, value

ROUTE = "/v2/repository/models/tickets/routing"

STRENGTHS = {"1": 1.0, "2": 1.5}

#: Different texts and routing keys, which the callers send repeatedly.
TEXTS = [f"{'praise ' * (1 + number % 3)}{number}" for number in range(200)]
KEYS = [f"caller-{number}" for number in range(200)]


class Answer(NamedTuple):
    """An answer to a caller."""

    version: str
    scores: list[float]


#: Sends texts with headers, which may contain a routing key.
Send = Callable[[list[str], dict[str, str]], Answer]


class Traffic(Callers):
    """Callers that continuously send requests, and check every answer against the version that it names."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.requests: Counter[str] = Counter()  # by version
        self.texts: Counter[str] = Counter()
        self.stage = 0
        self.answered: dict[int, Counter[str]] = defaultdict(Counter)  # versions by stage
        self.seen: dict[tuple[int, str], set[str]] = defaultdict(set)  # versions by stage, and by texts or key
        self._server = server
        self._grown = threading.Condition()
        kinds = (native, batch, typed) * 2
        self._callers = [threading.Thread(target=self._call, args=each) for each in zip(kinds, count(), strict=False)]

    def next_stage(self, rules: dict[str, dict[str, int]]) -> None:
        """Change the routing of the model. Later requests belong to the next stage."""
        self._server.client.post(ROUTE, json=rules).raise_for_status()
        with self._grown:
            self.stage += 1

    def until(self, requests: int) -> Counter[str]:
        """Wait for this number of answers in the current stage. Returns the number of answers of each version."""
        answered = self.answered[self.stage]
        with self._grown:
            assert self._grown.wait_for(lambda: answered.total() >= requests or self.faults, PATIENCE)
            assert not self.faults, self.faults[:3]
            return answered.copy()

    def _call(self, kind: Callable[[ServerProcess], Iterator[Send]], caller: int) -> None:
        try:
            for send in kind(self._server):
                for number in count(caller):
                    if self._over.is_set():
                        return
                    self._request(send, TEXTS[number % len(TEXTS)], KEYS[number % len(KEYS)] if number % 2 else "")
        except Exception as error:
            with self._grown:
                self.faults.append(f"failed: {error!r}")
                self._grown.notify_all()

    def _request(self, send: Send, text: str, key: str) -> None:
        stage = self.stage
        answer = send([text], {"x-routing-key": key} if key else {})
        words = text.split()[:-1]
        expected = float(probabilities(words, STRENGTHS[answer.version])[0])
        with self._grown:
            self.requests[answer.version] += 1
            self.texts[answer.version] += len(answer.scores)
            self.answered[stage][answer.version] += 1
            self.seen[stage, key or f"{len(answer.scores)} {text}"].add(answer.version)
            if answer.scores != pytest.approx([expected] * len(answer.scores), abs=1e-6):
                self.faults.append(f"not of version {answer.version}: {answer.scores} instead of {expected}")
            self._grown.notify_all()


def native(server: ServerProcess) -> Iterator[Send]:
    with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:

        def send(texts: list[str], key: dict[str, str]) -> Answer:
            answer = client.post("/v1/predict", json={"text": texts[0]}, headers=key).raise_for_status().json()
            return Answer(answer["model"]["version"], [answer["score"]])

        yield send


def batch(server: ServerProcess) -> Iterator[Send]:
    with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:

        def send(texts: list[str], key: dict[str, str]) -> Answer:
            body = {"texts": texts * 3}
            answers = client.post("/v1/predict_batch", json=body, headers=key).raise_for_status().json()["predictions"]
            [version] = {each["model"]["version"] for each in answers}
            return Answer(version, [each["score"] for each in answers])

        yield send


def typed(server: ServerProcess) -> Iterator[Send]:
    with connect(server) as channel:
        stub: Any = SentimentStub(channel)

        def send(texts: list[str], key: dict[str, str]) -> Answer:
            answer = stub.Predict(pb.PredictRequest(text=texts[0]), timeout=PATIENCE, metadata=tuple(key.items()))
            return Answer(answer.version, [answer.score])

        yield send


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Create a repository with version 1."""
    publish_strength(tmp_path, STRENGTHS["1"])
    return tmp_path


@pytest.fixture
def server(repository: Path) -> Iterator[ServerProcess]:
    """Serve all versions with two workers. Version 1 answers."""
    flags = ("--workers", "2", "--versions", "all", "--split", "tickets=1:1", "--admin", "open")
    with ServerProcess(*flags, "--watch-interval", "0.1", repository=repository) as process:
        yield process


def answered(server: ServerProcess, version: str) -> int:
    """Return the number of requests that a version has answered, from the metrics."""
    statuses = (("rest", "200"), ("grpc", "OK"))
    return int(
        sum(
            metric(server, "sentiment_requests_total", version=version, protocol=protocol, status=status)
            for protocol, status in statuses
        )
    )


def test_rollout(server: ServerProcess, repository: Path) -> None:
    """Shadow version, 10 %, 100 % and rollback lose no request, and the versions of every stage match its rules."""
    with Traffic(server) as traffic:
        traffic.until(100)
        publish_strength(repository, STRENGTHS["2"])
        eventually(lambda: server.client.get("/v2/models/tickets/versions/2/ready").status_code == 200)
        traffic.next_stage({"labels": {"stable": 1, "candidate": 2}})
        assert set(traffic.until(200)) == {"1"}, "a new version does not answer by itself"

        traffic.next_stage({"shadow": {"candidate": 20}})
        assert set(traffic.until(300)) == {"1"}, "nor does a shadow version"
        sampled = traffic.requests.total()
        traffic.next_stage({"shadow": {}, "split": {"stable": 90, "candidate": 10}})
        split = traffic.until(600)
        assert 0.02 < split["2"] / split.total() < 0.25
        sticky = {len(each) for (stage, _), each in traffic.seen.items() if stage == traffic.stage}
        assert sticky == {1}, "a text, and a routing key, keeps its version"

        traffic.next_stage({"split": {"candidate": 1}})
        assert set(traffic.until(150)) == {"2"}
        traffic.next_stage({"split": {"stable": 1}})
        assert set(traffic.until(300)) == {"1"}
    assert not traffic.faults, traffic.faults[:3]

    for version in ("1", "2"):
        eventually(lambda version=version: answered(server, version) >= traffic.requests[version])  # type: ignore[misc]
    found = series(server.metrics())
    for version in ("1", "2"):
        assert answered(server, version) == traffic.requests[version]
        assert value(found, "sentiment_texts_total", version=version) == traffic.texts[version]
    statuses = {
        dict(labels)["status"]
        for (name, labels), number in found.items()
        if name == "sentiment_requests_total" and number
    }
    assert statuses <= {"200", "404", "OK"}, "404 from the test itself, until version 2 was loaded"

    def shadow(**labels: str) -> float:
        return metric(server, "sentiment_shadow_requests_total", version="2", **labels)

    assert 0 < shadow() < sampled
    texts = metric(server, "sentiment_shadow_texts_total", version="2")
    difference = metric(server, "sentiment_shadow_difference_total", version="2")
    assert shadow(outcome="classified") <= texts <= 3 * shadow(outcome="classified")
    assert metric(server, "sentiment_shadow_texts_total", version="2", label="other") == 0
    assert 0 < difference < texts

    kill_children(server.process.pid)
    assert versions(server, 8) == {"1": 8}, "workers that are started later know the rules"


def test_shadow_version_beside_waiting_calls(tmp_path: Path) -> None:
    """The shadow version runs although callers watch health or keep an idle stream open."""
    publish_strength(tmp_path, 1.0)
    publish_strength(tmp_path, 1.5)
    flags = ("--workers", "1", "--versions", "all", "--split", "tickets=1:1", "--shadow", "tickets=2:100")
    with ServerProcess(*flags, repository=tmp_path) as server, connect(server) as channel:
        health: Any = HealthStub(channel)
        watch = health.Watch(HealthCheckRequest(), timeout=PATIENCE)
        assert next(watch).status == HealthCheckResponse.SERVING
        texts: queue.Queue[pb.PredictRequest | None] = queue.Queue()
        stream = SentimentStub(channel).PredictStream(iter(texts.get, None), timeout=PATIENCE)
        texts.put(pb.PredictRequest(text="praise"))
        assert next(stream).version == "1"
        server.client.post("/v1/predict", json={"text": "praise"}).raise_for_status()

        def classified() -> bool:
            return metric(server, "sentiment_shadow_requests_total", version="2", outcome="classified") == 2

        eventually(classified)
        texts.put(None)
        watch.cancel()
