"""A roll-out under load, from a label to the default version and back, loses no request, and all counts agree."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from sentiment_conv1d.protos import sentiment_pb2 as pb
from sentiment_conv1d.stubs import SentimentStub
from tests.proc import kill_children
from tests.processes import PATIENCE, ServerProcess, eventually
from tests.service.artifacts import probabilities, publish_strength
from tests.service.callers import Callers
from tests.service.grpc.channels import connect
from tests.service.process.test_supervisor import versions
from tests.service.telemetry.test_metrics import metric, series, value

ROUTE = "/v2/repository/models/tickets/routing"

STRENGTHS = {"1": 1.0, "2": 1.5}

#: Texts that the callers send repeatedly.
TEXTS = [f"{'praise ' * (1 + number % 3)}{number}" for number in range(200)]


class Answer(NamedTuple):
    """An answer to a caller."""

    version: str
    scores: list[float]


#: Sends a text.
Send = Callable[[str], Answer]


class Traffic(Callers):
    """Callers that continuously send requests, and check every answer against the version that it names."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.requests: Counter[str] = Counter()  # by version
        self.texts: Counter[str] = Counter()
        self.stage = 0
        self.answered: dict[int, Counter[str]] = defaultdict(Counter)  # versions by stage
        self._server = server
        self._grown = threading.Condition()
        kinds = (native, batch, typed) * 2
        self._callers = [threading.Thread(target=self._call, args=each) for each in zip(kinds, count(), strict=False)]

    def next_stage(self, labels: dict[str, int]) -> None:
        """Change the labels of the model. Later requests belong to the next stage."""
        self._server.client.post(ROUTE, json={"labels": labels}).raise_for_status()
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
                    self._request(send, TEXTS[number % len(TEXTS)])
        except Exception as error:
            with self._grown:
                self.faults.append(f"failed: {error!r}")
                self._grown.notify_all()

    def _request(self, send: Send, text: str) -> None:
        stage = self.stage
        answer = send(text)
        words = text.split()[:-1]
        expected = float(probabilities(words, STRENGTHS[answer.version])[0])
        with self._grown:
            self.requests[answer.version] += 1
            self.texts[answer.version] += len(answer.scores)
            self.answered[stage][answer.version] += 1
            if answer.scores != pytest.approx([expected] * len(answer.scores), abs=1e-6):
                self.faults.append(f"not of version {answer.version}: {answer.scores} instead of {expected}")
            self._grown.notify_all()


def native(server: ServerProcess) -> Iterator[Send]:
    with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:

        def send(text: str) -> Answer:
            answer = client.post("/v1/predict", json={"text": text}).raise_for_status().json()
            return Answer(answer["model"]["version"], [answer["score"]])

        yield send


def batch(server: ServerProcess) -> Iterator[Send]:
    with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:

        def send(text: str) -> Answer:
            body = {"texts": [text] * 3}
            answers = client.post("/v1/predict_batch", json=body).raise_for_status().json()["predictions"]
            [version] = {each["model"]["version"] for each in answers}
            return Answer(version, [each["score"] for each in answers])

        yield send


def typed(server: ServerProcess) -> Iterator[Send]:
    with connect(server) as channel:
        stub: Any = SentimentStub(channel)

        def send(text: str) -> Answer:
            answer = stub.Predict(pb.PredictRequest(text=text), timeout=PATIENCE)
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
    flags = ("--workers", "2", "--versions", "all", "--version-labels", "tickets=default:1", "--admin", "open")
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
    """Moving the label `default` and moving it back loses no request, and takes effect in all workers at once."""
    with Traffic(server) as traffic:
        traffic.until(100)
        publish_strength(repository, STRENGTHS["2"])
        eventually(lambda: server.client.get("/v2/models/tickets/versions/2/ready").status_code == 200)
        traffic.next_stage({"default": 1, "candidate": 2})
        assert set(traffic.until(200)) == {"1"}, "a new version does not answer by itself"
        for labels, version in (({"default": 2, "previous": 1}, "2"), ({"default": 1, "candidate": 2}, "1")) * 2:
            traffic.next_stage(labels)
            assert set(traffic.until(200)) == {version}
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

    kill_children(server.process.pid)
    assert versions(server, 8) == {"1": 8}, "workers that are started later know the labels"
