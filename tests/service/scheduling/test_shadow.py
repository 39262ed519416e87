"""Shadow versions: they classify answered requests when nothing else is in flight, and the counts compare them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.scheduling.shadow import MAX_CHARACTERS, MAX_TEXTS, MAX_WAITING, ShadowJob, ShadowQueue
from sentiment_conv1d.service.telemetry.metrics import Metrics
from tests.processes import PATIENCE
from tests.service.artifacts import LABELS, publish_strength, publish_table
from tests.service.telemetry.test_metrics import read, value

TEXTS = ["praise", "question complaint", "praise praise complaint"]


class Scene:
    """A shadow version, the version that answers, and a request in flight that `leave` ends."""

    def __init__(self, shadow: ServedClassifier, answering: ServedClassifier) -> None:
        self.metrics = Metrics({"rest": {}})
        self.shadow, self.answering = shadow, answering
        shadow.count(self.metrics)
        self.metrics.began("rest")
        self.queue = ShadowQueue(self.metrics)

    def leave(self) -> None:
        self.metrics.paused("rest")

    def add(self, texts: list[str]) -> None:
        answer = self.answering.predict(texts)
        self.queue.add(ShadowJob(self.shadow, self.answering.labels, texts, answer, 1_000_000))

    def count(self, name: str, **labels: str) -> float:
        """A count of the shadow version; 0 if it is not exposed."""
        samples = read(self.metrics)
        if not any(each == name and labels.items() <= set(given) for each, given in samples):
            return 0.0
        return value(samples, name, **labels)

    def requests(self, outcome: str) -> float:
        return self.count("sentiment_shadow_requests_total", outcome=outcome)

    async def until(self, requests: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.requests("classified") < requests:  # noqa: ASYNC110
                await asyncio.sleep(0)


@pytest.fixture
def versions(tmp_path: Path) -> tuple[ServedClassifier, ServedClassifier]:
    """Two versions that weigh words differently."""
    first, second = (Classifier(publish_strength(tmp_path, sign)) for sign in (1, -1))
    return ServedClassifier(first), ServedClassifier(second)


def test_comparison(versions: tuple[ServedClassifier, ServedClassifier]) -> None:
    """Labels, differences of the probabilities and times of both versions are counted."""

    async def story() -> None:
        scene = Scene(*versions)
        scene.add(TEXTS)
        scene.leave()
        await scene.until(1)
        pairs = [(one.predict([text])[0], other.predict([text])[0]) for text in TEXTS]
        same = sum(first.label == second.label for first, second in pairs)
        difference = sum(
            sum(abs(float(a) - float(b)) for a, b in zip(first.probabilities, second.probabilities, strict=True)) / 2
            for first, second in pairs
        )
        assert 0 <= same < len(TEXTS) and difference > 0
        assert scene.count("sentiment_shadow_texts_total", label="same") == same
        assert scene.count("sentiment_shadow_texts_total", label="other") == len(TEXTS) - same
        assert scene.count("sentiment_shadow_difference_total") == pytest.approx(difference)
        assert scene.count("sentiment_shadow_seconds_total", by="answer") == pytest.approx(0.001)
        assert scene.count("sentiment_shadow_seconds_total", by="shadow") > 0
        assert scene.requests("dropped") == 0

    one, other = versions
    asyncio.run(story())


def test_request_in_flight(versions: tuple[ServedClassifier, ServedClassifier]) -> None:
    """While a request is in flight nothing runs, and requests that the queue has no room for are dropped."""

    async def story() -> None:
        scene = Scene(*versions)
        for _ in range(MAX_WAITING + 3):
            scene.add(TEXTS)
            for _ in range(10):
                await asyncio.sleep(0)
        assert (scene.requests("classified"), scene.requests("dropped")) == (0, 3)
        scene.leave()
        await scene.until(MAX_WAITING)
        assert scene.requests("dropped") == 3

    asyncio.run(story())


def test_large_requests(versions: tuple[ServedClassifier, ServedClassifier]) -> None:
    """Requests with many texts or a long text are dropped."""

    async def story() -> None:
        scene = Scene(*versions)
        scene.leave()
        scene.add(["praise"] * (MAX_TEXTS + 1))
        scene.add(["x" * (MAX_CHARACTERS + 1)])
        assert scene.requests("dropped") == 2
        scene.add(["praise"] * MAX_TEXTS)
        scene.add(["x" * MAX_CHARACTERS])
        await scene.until(2)

    asyncio.run(story())


def test_version_that_is_dropped(versions: tuple[ServedClassifier, ServedClassifier]) -> None:
    """Requests that wait for a version that is no longer served are dropped, and so release it."""

    async def story() -> None:
        scene = Scene(*versions)
        scene.add(TEXTS)
        scene.queue.retain({scene.shadow})
        assert scene.requests("dropped") == 0
        scene.queue.retain({scene.answering})
        assert scene.requests("dropped") == 1
        scene.leave()
        scene.add(TEXTS)
        await scene.until(1)

    asyncio.run(story())


def test_other_labels(versions: tuple[ServedClassifier, ServedClassifier], tmp_path: Path) -> None:
    """If a version has other labels, every text counts as different, and by the most that is possible."""

    async def story() -> None:
        scene = Scene(ServedClassifier(Classifier(renamed)), versions[1])
        scene.add(TEXTS)
        scene.leave()
        await scene.until(1)
        assert scene.count("sentiment_shadow_texts_total", label="other") == len(TEXTS)
        assert scene.count("sentiment_shadow_difference_total") == len(TEXTS)

    renamed = publish_table(tmp_path, labels=[f"{label}!" for label in LABELS])
    asyncio.run(story())
