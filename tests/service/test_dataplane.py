"""The data plane: limits, order, deadlines, and no waiting work that is forgotten."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.classifier import MAX_ROWS, Classifier, Prediction
from service.dataplane import INLINE_CHARACTERS, DataPlane
from service.errors import DeadlineExceeded, Invalid, NotFound, Overloaded, TooLarge
from service.metrics import Metrics
from service.repository import Repository
from service.settings import Settings
from tests.service.test_metrics import read, value

Build = Callable[..., DataPlane]

#: So long that it goes to the thread.
LONG = "word " * (INLINE_CHARACTERS // 5 + 1)


@pytest.fixture
def build(classifier: Classifier) -> Iterator[Build]:
    """Makes data planes with the shipped model and closes them."""
    made = []

    def make(predictor: Classifier = classifier, **settings: Any) -> DataPlane:
        metrics = Metrics(["other"], [classifier.manifest])
        dataplane = DataPlane(Repository({"imdb-cnn": predictor}, "imdb-cnn"), Settings(**settings), metrics)
        made.append(dataplane)
        return dataplane

    yield make
    for dataplane in made:
        dataplane.close()


class Gate(Classifier):
    """The shipped model, which answers only when the test lets it."""

    def __init__(self, classifier: Classifier) -> None:
        vars(self).update(vars(classifier))
        self.entered = threading.Event()
        self.open = threading.Event()
        self.pieces = 0

    def predict(self, texts: Any) -> list[Prediction]:
        self.pieces += 1
        self.entered.set()
        assert self.open.wait(60)
        return super().predict(texts)

    async def until_entered(self) -> None:
        await asyncio.to_thread(self.entered.wait, 60)


@pytest.fixture
def gate(classifier: Classifier) -> Iterator[Gate]:
    """A closed gate, open at the end in any case."""
    gate = Gate(classifier)
    yield gate
    gate.open.set()


def test_small_request(build: Build, classifier: Classifier) -> None:
    """A small request is answered with the classifier and its prediction, on the thread of the caller."""
    threads = []

    class Noting(Gate):
        def predict(self, texts: Any) -> list[Prediction]:
            threads.append(threading.current_thread())
            return super().predict(texts)

    noting = Noting(classifier)
    noting.open.set()
    answering, predictions = asyncio.run(build(noting).predict(["A great film."]))
    assert answering is noting
    assert predictions == classifier.predict(["A great film."])
    asyncio.run(build(noting).predict([LONG]))
    asyncio.run(build(noting).predict(["a"] * (MAX_ROWS + 1)))
    assert threads[0] is threading.current_thread()
    assert len(threads) == 4 and threading.current_thread() not in threads[1:]


def test_large_batch_keeps_order(build: Build, classifier: Classifier) -> None:
    """A batch of many pieces is answered whole and in order."""
    texts = [f"{'great ' * (number % 7)}{'awful ' * (number % 11)}{'word ' * number}" for number in range(301)]
    _, predictions = asyncio.run(build().predict(texts))
    assert [each.tokens for each in predictions] == [number % 7 + number % 11 + number + 1 for number in range(301)]
    for text, prediction in zip(texts, predictions, strict=True):
        assert prediction.score == pytest.approx(classifier.predict([text])[0].score, abs=1e-6)


def test_limits(build: Build) -> None:
    """What is over a limit is refused; what is at the limit is not."""
    dataplane = build(max_batch_texts=2, max_text_characters=10)
    assert len(asyncio.run(dataplane.predict(["x" * 10, ""]))[1]) == 2
    with pytest.raises(TooLarge, match="text 1: 11 characters; the limit is 10"):
        asyncio.run(dataplane.predict(["", "x" * 11]))
    with pytest.raises(TooLarge, match="3 texts in one request; the limit is 2"):
        asyncio.run(dataplane.predict(["", "", ""]))
    with pytest.raises(Invalid, match="at least one text"):
        asyncio.run(dataplane.predict([]))
    with pytest.raises(NotFound, match="no model 'other'"):
        asyncio.run(dataplane.predict(["x"], "other"))


def test_counters(build: Build) -> None:
    """Texts that were answered are counted, refused ones are not."""
    dataplane = build(max_batch_texts=40)
    asyncio.run(dataplane.predict(["great qwertyuiop"]))
    asyncio.run(dataplane.predict([LONG] * 40))
    with pytest.raises(TooLarge):
        asyncio.run(dataplane.predict([""] * 41))
    samples = read(dataplane.metrics)
    assert value(samples, "sentiment_texts_total", model="imdb-cnn") == 41
    assert value(samples, "sentiment_truncated_texts_total", model="imdb-cnn") == 40


def test_overload(build: Build, gate: Gate) -> None:
    """Beyond the texts that may wait, large requests are refused at once; small ones and later ones are not."""

    async def story() -> None:
        dataplane = build(gate, max_batch_texts=4, max_pending_texts=6)
        first = asyncio.create_task(dataplane.predict([LONG] * 4))
        await gate.until_entered()
        second = asyncio.create_task(dataplane.predict([LONG] * 2))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="6 texts are waiting and 1 more would pass the limit of 6"):
            await dataplane.predict([LONG])
        gate.open.set()
        assert len((await dataplane.predict(["small"]))[1]) == 1
        assert [len((await task)[1]) for task in (first, second)] == [4, 2]
        assert len((await dataplane.predict([LONG] * 4))[1]) == 4

    asyncio.run(story())


def test_cancelled_request(build: Build, gate: Gate) -> None:
    """A caller who leaves gives the place back, and what was not begun is not done."""

    async def story() -> None:
        dataplane = build(gate, max_batch_texts=100, max_pending_texts=100)
        task = asyncio.create_task(dataplane.predict([LONG] * 100))
        await gate.until_entered()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open.set()
        assert len((await dataplane.predict([LONG] * 100))[1]) == 100
        assert gate.pieces == 1 + -(-100 // MAX_ROWS)

    asyncio.run(story())


def test_deadline(build: Build, gate: Gate) -> None:
    """No answer within the request timeout is an error, and the place is free again."""

    async def story() -> None:
        dataplane = build(gate, max_batch_texts=100, max_pending_texts=100, request_timeout=0.05)
        with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.05 s"):
            await dataplane.predict([LONG] * 100)
        with pytest.raises(DeadlineExceeded):
            await dataplane.predict([LONG] * 100)
        assert gate.pieces == 1

    asyncio.run(story())


def test_failure_gives_the_place_back(build: Build, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large request that fails does not count as waiting for ever."""

    def fail(self: Gate, texts: Any) -> list[Prediction]:
        raise RuntimeError("broken")

    monkeypatch.setattr(Gate, "predict", fail)

    async def story() -> None:
        dataplane = build(gate, max_batch_texts=4, max_pending_texts=4)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="broken"):
                await dataplane.predict([LONG] * 4)

    asyncio.run(story())


def test_close(build: Build, gate: Gate) -> None:
    """Closing drops what waits and lets the running piece finish."""

    async def story() -> None:
        dataplane = build(gate)
        tasks = [asyncio.create_task(dataplane.predict([LONG])) for _ in range(3)]
        await gate.until_entered()
        gate.open.set()
        await asyncio.to_thread(dataplane.close)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert any(isinstance(result, tuple) for result in results)

    asyncio.run(story())
