"""An inbox refuses feedback that it cannot store, and a sink that hangs holds up a limited number of requests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from sentiment_conv1d.model.manifest import Manifest
from sentiment_conv1d.server.errors import DeadlineExceeded, Overloaded, RequestError
from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.feedback.ids import FeedbackIds
from sentiment_conv1d.service.feedback.inbox import Feedback, Inbox, Rate, Receipt
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.service.telemetry.record_queue import RecordQueue
from sentiment_conv1d.service.telemetry.statistics import Statistics
from tests.processes import PATIENCE
from tests.service.feedback.test_ids import manifest, predictions
from tests.service.telemetry.test_metrics import series, value

IDS = FeedbackIds(b"secret")


@dataclass
class Served:
    """A version that is served."""

    manifest: Manifest
    statistics: Statistics


class Sink:
    """Takes records as soon as it is open."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.records: list[Mapping[str, Any]] = []

    def write(self, record: Mapping[str, Any]) -> None:
        assert self.opened.wait(PATIENCE)
        self.records.append(record)


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.opened.set()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics({"rest": {"/v1/feedback": False}})


@pytest.fixture
def inbox(sink: Sink, metrics: Metrics) -> Callable[..., Inbox]:
    def make(seconds: float = PATIENCE) -> Inbox:
        return Inbox(IDS, RecordQueue(sink.write, "feedback log"), Rate(1e6), seconds, written=str, metrics=metrics)

    return make


@pytest.fixture
def served() -> Served:
    return Served(manifest(), Statistics(manifest().labels))


def feedback(version: Served) -> Feedback:
    identity = IDS.make("one", version.manifest, predictions("label1"), 0)
    return Feedback(identity.decode(), "label0")


def refusals(metrics: Metrics, reason: str) -> float:
    return value(series(metrics.expose().decode()), "sentiment_feedback_refused_total", reason=reason)


def test_sink_that_hangs(sink: Sink, inbox: Callable[..., Inbox], metrics: Metrics, served: Served) -> None:
    """While the sink hangs, 256 requests wait and others are refused at once. Those that waited are all stored."""

    async def flood() -> list[Receipt | BaseException]:
        box = inbox()
        tasks = [asyncio.create_task(box.take(feedback(served), lambda *_: served)) for _ in range(300)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert done and not sink.records
        sink.opened.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(flood())
    assert results[:256] == [Receipt("imdb-cnn", "1", "label1", False)] * 256
    assert all(isinstance(each, Overloaded) for each in results[256:])
    assert len(sink.records) == 256 == served.statistics["disagree"]
    assert refusals(metrics, "waiting") == 44


def test_time_limit(inbox: Callable[..., Inbox], metrics: Metrics, served: Served) -> None:
    """A request does not wait longer for the log than for a prediction, and its record is still written."""
    with pytest.raises(DeadlineExceeded, match=r"^not stored within 0\.01 s"):
        asyncio.run(inbox(0.01).take(feedback(served), lambda *_: served))
    assert refusals(metrics, "failed") == 1 and served.statistics["disagree"] == 0


def test_longest_time(inbox: Callable[..., Inbox], served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request waits less than its time limit if this is long, so that a sink that hangs does not delay a shutdown."""
    monkeypatch.setattr("sentiment_conv1d.service.feedback.inbox._MAX_SECONDS", 0.01)
    with pytest.raises(DeadlineExceeded, match=r"^not stored within 0\.01 s"):
        asyncio.run(inbox(PATIENCE).take(feedback(served), lambda *_: served))


def test_versions_that_are_gone(inbox: Callable[..., Inbox], metrics: Metrics, served: Served) -> None:
    """Feedback on a version that is not served, or whose files were replaced, is refused, because its labels may not
    be those that were predicted."""

    def unserved(name: str, version: str) -> Served:
        raise NotFound(f"version {version} of model {name} is not loaded")

    other = Served(manifest().model_copy(update={"manifest_sha256": "0" * 64}), served.statistics)
    for find, message in ((unserved, "is not loaded"), (lambda *_: other, "the files of imdb-cnn, version 1, were")):
        with pytest.raises(RequestError, match=message):
            asyncio.run(inbox().take(feedback(served), find))
    assert refusals(metrics, "unserved") == 2
