"""The data plane: limits, order and deadlines of requests, and releases of their capacity."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from copy import copy
from time import perf_counter_ns
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.tokenizer import Encoding
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.engine import NATIVE
from sentiment_conv1d.inference.options import BATCH_ROWS
from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.inference.sentences import Span, split
from sentiment_conv1d.server.errors import ClientDisconnected, DeadlineExceeded, Overloaded, TooLarge
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.scheduling import batching
from sentiment_conv1d.service.scheduling import dataplane as dataplane_module
from sentiment_conv1d.service.scheduling.admission import weigh
from sentiment_conv1d.service.scheduling.batching import LoopBatcher, Pulse
from sentiment_conv1d.service.scheduling.dataplane import (
    INLINE_CHARACTERS,
    PIECE_ROWS,
    STEPPED_CHARACTERS,
    Batching,
    DataPlane,
    ParseLimits,
    RequestLimits,
)
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.scheduling.work import Work
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.service.telemetry.request_log import RequestLog
from sentiment_conv1d.service.telemetry.statistics import BatchTimes, Statistics
from tests.ids import pad
from tests.processes import PATIENCE
from tests.service import artifacts
from tests.service.telemetry.test_metrics import read, value

LIMITS = RequestLimits(texts=1024, characters=1_000_000, requests=256, pending_texts=2048, seconds=30)
BATCHING = Batching("auto", BATCH_ROWS, 0.0)
ON_THREAD = BATCHING._replace(mode="on")

#: A text that is too long to run at once, and a text that is so long that it runs on the thread.
MEDIUM = "word " * (INLINE_CHARACTERS // 5 + 1)
LONG = "word " * (STEPPED_CHARACTERS // 5 + 1)


class OneModel(DataPlane):
    """A data plane with one model."""

    def __init__(
        self, model: ServedClassifier, batching: Batching, limits: RequestLimits, log: RequestLog | None = None
    ) -> None:
        self.model = model
        self.metrics = Metrics({})
        self.metrics.assign((model.manifest.name, model.manifest.version), model.labels)
        model.count(self.metrics)
        super().__init__(limits, batching, self.metrics, [model], log)


Build = Callable[..., OneModel]


@pytest.fixture
def build(classifier: ServedClassifier) -> Iterator[Build]:
    """Create data planes with the shipped model, and close them at the end."""
    made: list[OneModel] = []

    def make(model: ServedClassifier = classifier, batching: Batching = BATCHING, **limits: Any) -> OneModel:
        made.append(OneModel(model, batching, LIMITS._replace(**limits)))
        return made[-1]

    yield make
    for dataplane in made:
        dataplane.close()


@pytest.fixture(scope="module")
def averaging(tmp_path_factory: pytest.TempPathFactory) -> ServedClassifier:
    """Return a model that has no answer to a text without words."""
    return ServedClassifier(Classifier(artifacts.publish_averaging(tmp_path_factory.mktemp("averaging"))))


async def ask(dataplane: OneModel, texts: list[str], time_limit: float | None = None) -> list[Prediction]:
    """Return the predictions of the default model."""
    return await dataplane.predict(RequestContext("id"), dataplane.model, texts, time_limit)


class Gate(ServedClassifier):
    """The shipped model, which answers only after the test opens the gate."""

    def __init__(self, classifier: ServedClassifier) -> None:
        super().__init__(classifier)
        self.entered = threading.Event()
        self.open = threading.Event()
        self.pieces = 0
        self.threads: set[threading.Thread] = set()

    def runs(self, encodings: Any) -> Iterator[dict[int, Prediction]]:
        self.pieces += 1
        self.threads.add(threading.current_thread())
        self.entered.set()
        assert self.open.wait(60)
        return super().runs(encodings)

    async def until_entered(self) -> None:
        await asyncio.to_thread(self.entered.wait, 60)


@pytest.fixture
def gate(classifier: ServedClassifier) -> Iterator[Gate]:
    """Create a closed gate, and open it at the end."""
    gate = Gate(classifier)
    yield gate
    gate.open.set()


@pytest.mark.parametrize(
    ("sizes", "cost", "place"),
    [
        ([16_384], 1, "one turn"),
        ([512] * 32, 1, "one turn"),
        ([16_385], 1, "steps"),
        ([65_536], 1, "steps"),
        ([513] * 32, 1, "steps"),
        ([65_537], 1, "thread"),
        ([9_000] * 9, 1, "thread"),
        ([1] * 33, 1, "thread"),
        ([4_096], 4, "one turn"),
        ([4_097], 4, "thread"),
    ],
)
def test_where_requests_run(
    build: Build, classifier: ServedClassifier, monkeypatch: pytest.MonkeyPatch, sizes: list[int], cost: int, place: str
) -> None:
    """Small requests run in one turn of the event loop, medium ones in steps, and large ones on a thread.

    So do medium ones of a tokenizer that takes long, for which a character counts several times.
    """
    places = []
    run = LoopBatcher._run

    def note(batcher: LoopBatcher[Any]) -> Iterator[None]:
        places.append("steps" if batcher._stepwise else "one turn")
        return run(batcher)

    class Noting(ServedClassifier):
        def runs(self, encodings: Any) -> Iterator[dict[int, Prediction]]:
            if threading.current_thread() is not threading.main_thread():
                places.append("thread")
            return super().runs(encodings)

    monkeypatch.setattr(LoopBatcher, "_run", note)
    model = Noting(classifier)
    model.tokenizer = copy(model.tokenizer)
    model.tokenizer.cost = cost
    predictions = asyncio.run(ask(build(model), ["a" * size for size in sizes]))
    assert [each.tokens for each in predictions] == [2] * len(sizes)
    assert set(places) == {place}


@pytest.mark.parametrize(
    ("mode", "device", "in_turns"),
    [("auto", "cpu", True), ("auto", "cuda", False), ("on", "cpu", False), ("off", "cuda", True)],
)
def test_modes_of_batching(build: Build, classifier: ServedClassifier, mode: Any, device: str, in_turns: bool) -> None:
    """Requests do not run on the event loop if batching is on, or automatic and the device a GPU."""
    model = ServedClassifier(classifier)
    model.engine = cast(Any, SimpleNamespace(device=device, operator=""))
    dataplane = build(model, BATCHING._replace(mode=mode))
    assert dataplane.runs_in_turns == in_turns


def test_one_thread(build: Build, classifier: ServedClassifier, gate: Gate) -> None:
    """Large requests of all models run on the same thread."""
    other = Gate(classifier)

    async def story() -> None:
        dataplane = build(gate)
        dataplane.serve([gate, other])
        tasks = [asyncio.create_task(dataplane.predict(RequestContext("id"), model, [LONG])) for model in (gate, other)]
        await gate.until_entered()
        other.open.set()
        gate.open.set()
        await asyncio.gather(*tasks)

    asyncio.run(story())
    assert gate.threads == other.threads


def test_requests_of_one_moment_run_together(build: Build, classifier: ServedClassifier) -> None:
    """Small requests that arrive together share a run, and each gets its own answer and statistics."""
    texts = [f"{'great ' * (number % 3)}{'awful ' * (number % 2)}film" for number in range(8)]
    dataplane = build()
    statistics = dataplane.model.statistics

    async def together() -> list[list[Prediction]]:
        return await asyncio.gather(*(ask(dataplane, [text]) for text in texts))

    for text, [prediction] in zip(texts, asyncio.run(together()), strict=True):
        assert prediction.score == pytest.approx(classifier.predict([text])[0].score, abs=1e-6)
    assert (statistics["texts"], statistics.successes, statistics["runs"]) == (8, 8, 1)


def start(dataplane: OneModel, texts: list[str], delivered: list[Any]) -> Work[list[str]]:
    """Start work that answers with labels, and return it."""

    def labels(predictions: list[Prediction]) -> list[str]:
        return [prediction.label for prediction in predictions]

    work = dataplane.read_texts(RequestContext("id"), dataplane.model, texts, labels)
    assert dataplane.start(work, delivered.append)
    return work


def test_work_without_tasks(build: Build) -> None:
    """Work that starts in one turn of the event loop runs together in the next, and needs no task."""

    async def story() -> None:
        dataplane = build()
        delivered: list[Any] = []
        for texts in (["A great film."], ["Dull and awful.", "A wonderful film."]):
            start(dataplane, texts, delivered)
        assert len(asyncio.all_tasks()) == 1
        assert delivered == []
        await asyncio.sleep(0)
        assert delivered == [["positive"], ["negative", "positive"]]
        statistics = dataplane.model.statistics
        assert (statistics["runs"], statistics["running"]) == (1, 0)

    asyncio.run(story())


@pytest.mark.parametrize("cancelled", [False, True])
def test_work_that_has_ended(build: Build, cancelled: bool) -> None:
    """Work that is delivered, or cancelled, does not refer to the request any more, which refers to the work."""

    class Request:
        work: Work[list[Prediction]]

        def deliver(self, result: list[Prediction] | BaseException) -> None:
            """Take the answer."""

    async def story() -> None:
        dataplane = build()
        request = Request()
        ended = weakref.ref(request)
        request.work = dataplane.read_texts(RequestContext("id"), dataplane.model, ["A great film."], list)
        assert dataplane.start(request.work, request.deliver)
        if cancelled:
            dataplane.cancel(request.work)
        del request
        await asyncio.sleep(0)
        assert ended() is None

    gc.disable()
    try:
        asyncio.run(story())
    finally:
        gc.enable()


def test_cancelled_work(build: Build) -> None:
    """Cancelled work does not run, is delivered as disconnected, and leaves its place. Rejected work has failed."""

    async def story() -> None:
        began = perf_counter_ns()
        dataplane = build(requests=1)
        delivered: list[Any] = []
        work = start(dataplane, ["A great film."], delivered)
        with pytest.raises(Overloaded):
            start(dataplane, ["one too many"], delivered)
        dataplane.cancel(work)
        dataplane.cancel(work)
        start(dataplane, ["Dull and awful."], delivered)
        await asyncio.sleep(0)
        [gone, answer] = delivered
        assert isinstance(gone, ClientDisconnected)
        assert answer == ["negative"]
        statistics = dataplane.model.statistics
        assert statistics["failures"] == 1
        assert 0 < statistics["failure_time"] <= perf_counter_ns() - began

    asyncio.run(story())


def test_small_requests_leave(build: Build) -> None:
    """A small request, with or without a task, does not count as a large one, and counts no longer when it ends."""

    async def story() -> None:
        dataplane = build(pending_texts=1)
        delivered: list[Any] = []
        for number in range(2):
            start(dataplane, ["a text"], delivered)
            dataplane.expect(INLINE_CHARACTERS + 1)
            await asyncio.sleep(0)
            assert len(delivered) == number + 1
            task = asyncio.create_task(ask(dataplane, ["a text"]))
            await asyncio.sleep(0)
            dataplane.expect(INLINE_CHARACTERS + 1)
            await task

    asyncio.run(story())


@pytest.mark.parametrize(("operator", "runs"), [(NATIVE, 1), ("", 4)])
def test_characters_of_a_turn(
    build: Build, classifier: ServedClassifier, monkeypatch: pytest.MonkeyPatch, operator: str, runs: int
) -> None:
    """Small requests of up to 65,536 characters run together with the native operator, of up to 16,384 without it."""
    monkeypatch.setattr(classifier.engine, "operator", operator)

    async def story() -> None:
        dataplane = build()
        delivered: list[Any] = []
        for _ in range(4):
            start(dataplane, ["a" * INLINE_CHARACTERS], delivered)
        for _ in range(4):
            await asyncio.sleep(0)
        assert len(delivered) == 4
        assert dataplane.model.statistics["runs"] == runs

    asyncio.run(story())


def test_a_small_request_whose_task_is_cancelled(build: Build) -> None:
    """A small request with a task does not run if it is cancelled before its turn, and leaves its place."""

    async def story() -> None:
        dataplane = build(requests=2)
        first, second = (asyncio.create_task(ask(dataplane, ["a text"] * count)) for count in (PIECE_ROWS, 1))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([first, second])
        assert second.cancelled()
        results = await asyncio.gather(*(ask(dataplane, ["a text"]) for _ in range(2)))
        assert [len(each) for each in results] == [1, 1]
        statistics = dataplane.model.statistics
        assert (statistics["texts"], statistics["running"], statistics["failures"]) == (PIECE_ROWS + 2, 0, 0)

    asyncio.run(story())


def test_work_that_needs_a_task(build: Build) -> None:
    """Work that takes more than one turn, or runs on the thread, is not started."""

    async def story() -> None:
        delivered: list[Any] = []
        many = ["a text"] * (PIECE_ROWS + 1)
        for dataplane, texts in ((build(), [MEDIUM]), (build(), many), (build(batching=ON_THREAD), ["a text"])):
            assert not dataplane.start(
                dataplane.read_texts(RequestContext("id"), dataplane.model, texts, list), delivered.append
            )
        assert delivered == []

    asyncio.run(story())


def test_late_work(build: Build) -> None:
    """Work that has waited longer than its time limit fails, and counts as failed."""

    async def story() -> None:
        began = perf_counter_ns()
        dataplane = build()
        delivered: list[Any] = []
        work = dataplane.read_texts(RequestContext("id"), dataplane.model, ["a text"], list, 0.0)
        assert dataplane.start(work, delivered.append)
        await asyncio.sleep(0)
        [late] = delivered
        assert isinstance(late, DeadlineExceeded)
        statistics = dataplane.model.statistics
        assert (statistics["failures"], statistics["running"]) == (1, 0)
        assert 0 < statistics["failure_time"] <= perf_counter_ns() - began

    asyncio.run(story())


def test_answers_that_fail(build: Build) -> None:
    """An error that the answer raises is delivered, and does not affect the rest of the batch."""

    def fail(predictions: list[Prediction]) -> list[str]:
        raise Invalid("no")

    async def story() -> None:
        dataplane = build()
        delivered: list[Any] = []
        work = dataplane.read_texts(RequestContext("id"), dataplane.model, ["An awful film."], fail)
        assert dataplane.start(work, delivered.append)
        start(dataplane, ["A great film."], delivered)
        await asyncio.sleep(0)
        assert isinstance(delivered[0], Invalid)
        assert delivered[1:] == [["positive"]]

    asyncio.run(story())


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(["stays", "cancelled", "fails", "has no answer"])),
        min_size=1,
        max_size=12,
    )
)
def test_own_answers(averaging: ServedClassifier, requests: list[tuple[int, str]]) -> None:
    """Whatever is cancelled, fails or has no answer, every caller gets the predictions of its own texts."""

    async def story() -> None:
        dataplane = OneModel(averaging, BATCHING, LIMITS)
        loop = asyncio.get_running_loop()
        replies: list[asyncio.Future[Any]] = [loop.create_future() for _ in requests]
        words = 0
        for (count, what), replied in zip(requests, replies, strict=True):
            texts = ["praise " * number for number in range(words + 1, words + count + 1)]
            words += count
            if what == "has no answer":
                texts[-1] = "?!"

            def answer(predictions: list[Prediction], what: str = what) -> list[int]:
                if what == "fails":
                    raise Invalid("no")
                return [each.tokens for each in predictions]

            work = dataplane.read_texts(RequestContext("id"), averaging, texts, answer)
            assert dataplane.start(work, replied.set_result)
            if what == "cancelled":
                dataplane.cancel(work)
        async with asyncio.timeout(PATIENCE):
            answers = await asyncio.gather(*replies)
        dataplane.close()
        words = 0
        for (count, what), reply in zip(requests, answers, strict=True):
            if what == "cancelled":
                assert isinstance(reply, ClientDisconnected)
            elif what == "fails":
                assert isinstance(reply, Invalid) and str(reply) == "no"
            elif what == "has no answer":
                assert isinstance(reply, Invalid) and str(reply).startswith(f"text {count - 1}: it has no answer")
            else:  # the numbers of words, and the start id
                assert reply == [number + 1 for number in range(words + 1, words + count + 1)]
            words += count

    asyncio.run(story())


def test_logged_texts_without_answer(averaging: ServedClassifier) -> None:
    """Each logged text stands beside its own answer, and a text without an answer is not logged."""
    records: list[Mapping[str, Any]] = []
    log = RequestLog(records.append, share=1, texts=True, count=lambda outcome: None)

    async def story() -> list[Prediction]:
        dataplane = OneModel(averaging, BATCHING, LIMITS, log)
        texts = ["?!", "praise", "", "praise praise"]
        predictions = await dataplane.run(
            dataplane.read_texts(RequestContext("id"), averaging, texts, list, reports=True)
        )
        dataplane.close()
        return predictions

    _, one, _, two = asyncio.run(story())
    [record] = records
    logged = [(each["text"], each["tokens"], each["score"]) for each in record["predictions"]]
    assert logged == [("praise", one.tokens, one.score), ("praise praise", two.tokens, two.score)]
    assert one.tokens < two.tokens


def test_dynamic_batching(build: Build, classifier: ServedClassifier) -> None:
    """With batching on, all requests run on the thread, in batches of the configured size, within all limits."""
    gate = Gate(classifier)

    async def story() -> None:
        dataplane = build(gate, ON_THREAD._replace(rows=4, delay=0.001), texts=9, pending_texts=9)
        tasks = [asyncio.create_task(ask(dataplane, ["a great film"]))]
        await gate.until_entered()
        tasks += [asyncio.create_task(ask(dataplane, ["awful", "fine"])) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await ask(dataplane, ["one too many"])
        with pytest.raises(DeadlineExceeded):
            tasks.pop().cancel()
            await asyncio.sleep(0)
            await ask(dataplane, ["late"], 0.01)
        gate.open.set()
        assert [len(await task) for task in tasks] == [1, 2, 2, 2]
        assert gate.pieces == 1 + 2
        assert [each.score for each in await ask(dataplane, ["great", "bad"] * 4)] == pytest.approx(
            [each.score for each in classifier.predict(["great", "bad"])] * 4, abs=1e-6
        )
        assert gate.pieces == 1 + 2 + 2

    asyncio.run(story())


def test_large_batch_keeps_order(build: Build, classifier: ServedClassifier) -> None:
    """A batch of many pieces is answered completely and in order."""
    texts = [f"{'great ' * (number % 7)}{'awful ' * (number % 11)}{'word ' * number}" for number in range(301)]
    predictions = asyncio.run(ask(build(), texts))
    assert [each.tokens for each in predictions] == [number % 7 + number % 11 + number + 1 for number in range(301)]
    for text, prediction in zip(texts, predictions, strict=True):
        assert prediction.score == pytest.approx(classifier.predict([text])[0].score, abs=1e-6)


def test_times_of_pieces(build: Build, classifier: ServedClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """The times of a large request are those of all its pieces: in the queue, reading texts, and running the model."""
    clock = 0

    def work(nanoseconds: int) -> None:
        nonlocal clock
        clock += nanoseconds

    class Timed(ServedClassifier):
        def encode(self, texts: Sequence[str]) -> list[Encoding]:
            work(10)
            return super().encode(texts)

        def runs(self, encodings: Sequence[Encoding]) -> Iterator[dict[int, Prediction]]:
            work(100)
            return super().runs(encodings)

    for module in (batching, dataplane_module):
        monkeypatch.setattr(module, "perf_counter_ns", lambda: clock)
    monkeypatch.setattr(Pulse, "beat", lambda pulse: work(1))  # before and after each piece
    dataplane = build(Timed(classifier))
    context = RequestContext("id")
    asyncio.run(dataplane.predict(context, dataplane.model, ["film"] * (2 * PIECE_ROWS + 1)))
    assert context.batch == BatchTimes(context.decoded + 3, 30, 300)


def test_limits(build: Build) -> None:
    """A request over a limit is refused, and a request at the limit is not."""
    dataplane = build(texts=2, characters=10)
    assert len(asyncio.run(ask(dataplane, ["x" * 10, ""]))) == 2
    with pytest.raises(TooLarge, match="text 1: 11 characters; the limit is 10"):
        asyncio.run(ask(dataplane, ["", "x" * 11]))
    with pytest.raises(TooLarge, match="3 texts in one request; the limit is 2"):
        asyncio.run(ask(dataplane, ["", "", ""]))
    with pytest.raises(Invalid, match="at least one text"):
        asyncio.run(ask(dataplane, []))


def test_counters(build: Build) -> None:
    """Answered texts are counted, and refused ones are not."""
    dataplane = build(texts=40)
    asyncio.run(ask(dataplane, ["great qwertyuiop"]))
    asyncio.run(ask(dataplane, [LONG] * 40))
    with pytest.raises(TooLarge):
        asyncio.run(ask(dataplane, [""] * 41))
    samples = read(dataplane.metrics)
    assert value(samples, "sentiment_texts_total", model="imdb-cnn") == 41
    assert value(samples, "sentiment_truncated_texts_total", model="imdb-cnn") == 40


def test_overload(build: Build, gate: Gate) -> None:
    """Large requests over the limit on waiting texts are refused at once, and small and later ones are not."""

    async def story() -> None:
        of_two, of_one = weigh(2, 2 * len(LONG)), weigh(1, len(LONG))
        room = weigh(4, 4 * len(LONG)) + of_two
        dataplane = build(gate, texts=4, pending_texts=room)
        first = asyncio.create_task(ask(dataplane, [LONG] * 4))
        await gate.until_entered()
        second = asyncio.create_task(ask(dataplane, [LONG] * 2))
        await asyncio.sleep(0)
        message = f"{room} texts are waiting and {of_one} more would exceed the limit of {room}"
        with pytest.raises(Overloaded, match=message):
            await ask(dataplane, [LONG])
        with pytest.raises(Overloaded):
            await ask(dataplane, [MEDIUM])
        gate.open.set()
        assert len(await ask(dataplane, ["small"])) == 1
        assert [len(await task) for task in (first, second)] == [4, 2]
        assert len(await ask(dataplane, [LONG] * 4)) == 4

    asyncio.run(story())


def test_too_many_small_requests(build: Build) -> None:
    """Of small requests that arrive together, those over the limit are refused and the others answered."""

    async def story() -> None:
        began = perf_counter_ns()
        dataplane = build(requests=5)
        for _ in range(2):
            results = await asyncio.gather(*(ask(dataplane, ["film"]) for _ in range(8)), return_exceptions=True)
            refused = [each for each in results if isinstance(each, Overloaded)]
            assert len(refused) == 3 and len([each for each in results if isinstance(each, list)]) == 5
        statistics = dataplane.model.statistics
        assert (statistics["failures"], statistics["running"]) == (6, 0)
        assert 0 < statistics["failure_time"] <= 6 * (perf_counter_ns() - began)
        with pytest.raises(DeadlineExceeded):
            await asyncio.gather(ask(dataplane, ["film"], 0.0), ask(dataplane, ["film"]))

    asyncio.run(story())


def test_limits_of_parsing(build: Build) -> None:
    """A parser may make twice as many fields as the largest batch needs, and as many values as its ids."""
    dataplane = build(texts=1000)
    assert dataplane.limits == ParseLimits(16_192, 416_192)
    dataplane.serve([])
    assert dataplane.limits == ParseLimits(16_192, 16_192)


def test_a_large_request_is_expected(build: Build, gate: Gate) -> None:
    """A large request is rejected before it is read if others use the capacity, and admitted if none waits."""

    async def story() -> None:
        dataplane = build(gate, texts=4, pending_texts=4)
        dataplane.expect(INLINE_CHARACTERS + 1)
        running = asyncio.create_task(ask(dataplane, [LONG]))
        await gate.until_entered()
        with pytest.raises(Overloaded):
            dataplane.expect(INLINE_CHARACTERS + 1)
        dataplane.expect(INLINE_CHARACTERS)
        gate.open.set()
        await running
        with dataplane.parsing_large(INLINE_CHARACTERS + 1, "somebody"), pytest.raises(Overloaded):
            dataplane.expect(INLINE_CHARACTERS + 1)
        dataplane.expect(INLINE_CHARACTERS + 1)

    asyncio.run(story())


def test_small_requests_expect_the_thread(build: Build, gate: Gate) -> None:
    """If all requests run on the thread, small ones are rejected before they are read too if there is no room."""

    async def story() -> None:
        dataplane = build(gate, ON_THREAD, texts=4, pending_texts=4)
        dataplane.expect(1)
        running = asyncio.create_task(ask(dataplane, ["film"] * 4))
        await gate.until_entered()
        with pytest.raises(Overloaded):
            dataplane.expect(1)
        gate.open.set()
        await running
        dataplane.expect(1)

    asyncio.run(story())


def test_serve_during_work(build: Build, classifier: ServedClassifier) -> None:
    """Work that waits for a model runs together with work that starts after the classifiers were set again."""

    async def story() -> None:
        dataplane = build()
        delivered: list[Any] = []
        start(dataplane, ["A great film."], delivered)
        dataplane.serve([ServedClassifier(classifier), dataplane.model])
        start(dataplane, ["Dull and awful."], delivered)
        await asyncio.sleep(0)
        assert delivered == [["positive"], ["negative"]]
        assert dataplane.model.statistics["runs"] == 1

    asyncio.run(story())


def test_large_requests_that_are_complete_in_one_turn(build: Build, gate: Gate) -> None:
    """No more large requests start in one turn than have room, although they enter in the next one."""

    async def story() -> None:
        dataplane = build(gate, texts=40, pending_texts=40)
        with dataplane.parsing_large(1, "somebody"), pytest.raises(Overloaded):  # counts as 32 texts
            dataplane.announce(1)
        dataplane.announce(1)
        with pytest.raises(Overloaded):
            dataplane.announce(1)
        await asyncio.sleep(0)
        dataplane.announce(1)

    asyncio.run(story())


def test_cancelled_request(build: Build, gate: Gate) -> None:
    """A caller that disconnects releases its capacity, and the rest of its work does not run."""

    async def story() -> None:
        dataplane = build(gate, texts=100, pending_texts=100)
        task = asyncio.create_task(ask(dataplane, [LONG] * 100))
        await gate.until_entered()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open.set()
        assert len(await ask(dataplane, [LONG] * 100)) == 100
        assert gate.pieces == 1 + -(-100 // PIECE_ROWS)

    asyncio.run(story())


def test_deadline(build: Build, gate: Gate) -> None:
    """A request fails after the request timeout and releases its capacity."""

    async def story() -> None:
        dataplane = build(gate, texts=100, pending_texts=100, seconds=0.5)
        async with asyncio.timeout(PATIENCE):
            while not gate.entered.is_set():  # on a busy machine, the thread can begin too late
                with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.5 s"):
                    await ask(dataplane, [LONG] * 100)
        with pytest.raises(DeadlineExceeded):
            await ask(dataplane, [LONG] * 100)
        assert gate.pieces == 1

    asyncio.run(story())


def test_capacity_after_a_failure(build: Build, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large request that fails releases its capacity."""

    def fail(self: Gate, *_: Any) -> Iterator[dict[int, Prediction]]:
        raise RuntimeError("broken")

    monkeypatch.setattr(Gate, "runs", fail)

    async def story() -> None:
        dataplane = build(gate, texts=4, pending_texts=4)
        for text in (LONG, MEDIUM):
            for _ in range(3):
                with pytest.raises(RuntimeError, match="broken"):
                    await ask(dataplane, [text] * 4)

    asyncio.run(story())


def test_close(build: Build, gate: Gate) -> None:
    """Closing drops waiting work and lets the running piece finish."""

    async def story() -> None:
        dataplane = build(gate)
        tasks = [asyncio.create_task(ask(dataplane, [LONG])) for _ in range(3)]
        await gate.until_entered()
        closing = asyncio.create_task(asyncio.to_thread(dataplane.close))
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait(tasks[1:])
        gate.open.set()
        await closing
        assert len(await tasks[0]) == 1
        assert [task.cancelled() or isinstance(task.exception(), RuntimeError) for task in tasks[1:]] == [True, True]

    asyncio.run(story())


@pytest.mark.parametrize(("seconds", "limit"), [(5, 0.05), (0.05, 5)])
def test_callers_own_limit(build: Build, gate: Gate, seconds: float, limit: float) -> None:
    """A caller can set a shorter timeout than the settings, and not a longer one."""

    async def story() -> None:
        with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.05 s"):
            await ask(build(gate, seconds=seconds), [LONG], limit)

    asyncio.run(story())


def test_ids_of_the_caller(build: Build, classifier: ServedClassifier) -> None:
    """A caller's ids get the answer of their text, with or without padding in front."""
    dataplane = build()
    model = dataplane.model
    texts = ["A great film.", "Dull, long and dull again."]
    rows = [encoding.ids for encoding in classifier.encode(texts)]
    expected = [each.score for each in classifier.predict(texts)]
    for time in (max(map(len, rows)), 50, 400):
        predictions = asyncio.run(dataplane.run(dataplane.read_ids(RequestContext("id"), model, pad(rows, time), list)))
        assert [each.score for each in predictions] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.full((1, 3), -1), "ids must be between 0 and 4999"),
        (np.full((2, 3), 5000), "ids must be between 0 and 4999"),
        (np.zeros((1, 0)), "0 ids per text"),
        (np.zeros((1, 401)), "401 ids per text; the model reads 1 to 400"),
        (np.zeros((0, 3)), "at least one text"),
    ],
)
def test_invalid_ids(build: Build, ids: Any, message: str) -> None:
    """Ids outside the vocabulary and rows of an invalid length are refused."""
    dataplane = build()
    with pytest.raises(Invalid, match=message):
        dataplane.read_ids(RequestContext("id"), dataplane.model, ids.astype(np.int32), list)


def test_statistics(build: Build, classifier: ServedClassifier) -> None:
    """Requests, rows and runs are counted for each model, separately from failures."""
    dataplane = build(Gate(classifier), texts=40)
    model = dataplane.model
    assert isinstance(model, Gate)
    model.open.set()
    model.statistics = Statistics(model.labels)
    began = perf_counter_ns()
    asyncio.run(ask(dataplane, ["one"]))
    asyncio.run(ask(dataplane, ["text"] * 40))
    with pytest.raises(TooLarge):
        asyncio.run(ask(dataplane, ["text"] * 41))
    elapsed = perf_counter_ns() - began
    statistics = model.statistics
    assert (statistics["texts"], statistics["runs"]) == (41, 3)
    assert (statistics.successes, statistics["failures"]) == (2, 1)
    stages = sum(statistics[stage] for stage in ("queue", "tokenize", "infer"))
    assert 0 < stages <= statistics["success_time"] <= elapsed - statistics["failure_time"]
    assert statistics["failure_time"] > 0


@pytest.mark.parametrize(("limit", "hurried"), [(None, False), (29.0, True), (30.0, True), (31.0, False)])
def test_context(build: Build, limit: float | None, hurried: bool) -> None:
    """The context of a request gets its model, its times, its stages, and whether the client set the time limit."""

    async def story() -> None:
        context = RequestContext("id")
        dataplane = build()
        await dataplane.predict(context, dataplane.model, ["a", "b"], limit)
        assert context.manifest is dataplane.model.manifest and context.statistics is dataplane.model.statistics
        assert context.batch is not None and context.texts == 2
        assert context.decoded <= context.batch.started
        assert sum(context.batch) <= context.predicted <= perf_counter_ns()
        assert context.hurried == hurried

    asyncio.run(story())


@pytest.mark.parametrize(("size", "here"), [(16_384, True), (16_385, False)])
def test_explanations(build: Build, size: int, here: bool) -> None:
    """Short texts are explained on the event loop, and long ones on the thread. Both count as large requests."""

    async def story() -> None:
        dataplane = build()
        text = "good".ljust(size)

        def explain(*request: Any) -> tuple[Any, ...]:
            return *request, threading.current_thread(), value(read(dataplane.metrics), "sentiment_texts_waiting")

        task = asyncio.create_task(dataplane.explain(RequestContext("id"), dataplane.model, text, None, explain))
        if here:
            for _ in range(20):
                await asyncio.sleep(0)
            assert task.done()
        prediction, (same, encoding, label, thread, waiting) = await task
        assert (same, encoding.tokens, label) == (text, 2, prediction.label)
        assert (thread is threading.current_thread(), waiting) == (here, 5)
        _, (_, _, label, *_) = await dataplane.explain(RequestContext("id"), dataplane.model, text, "negative", explain)
        assert label == "negative" != prediction.label

    asyncio.run(story())


@pytest.mark.parametrize(("size", "here"), [(16_384, True), (16_385, False)])
def test_sentences(build: Build, monkeypatch: pytest.MonkeyPatch, size: int, here: bool) -> None:
    """A text is split where it is explained, as a larger request, and its sentences run as texts of one request."""

    async def story() -> None:
        dataplane = build()
        seen: list[tuple[bool, float]] = []

        def watched(text: str) -> Iterator[Span]:
            on_loop = threading.current_thread() is threading.main_thread()
            seen.append((on_loop, value(read(dataplane.metrics), "sentiment_texts_waiting")))
            return split(text)

        monkeypatch.setattr("sentiment_conv1d.service.scheduling.dataplane.split", watched)
        context = RequestContext("id")
        text = "Good. Bad.".ljust(size)
        prediction, explanation, found = await dataplane.explain_sentences(context, dataplane.model, text, None)
        assert seen == [(here, 1 + 4 * 16_384 // 4096)]
        assert [prediction, *(each.prediction for each in found)] == await ask(dataplane, [text, "Good.", "Bad."])
        assert context.texts == 3
        assert [each.share for each in found] == [word.share for word in explanation.words]

    asyncio.run(story())


def test_too_many_sentences(build: Build) -> None:
    """The limit of texts holds for a text with its sentences, and nothing is predicted beyond it."""

    async def story() -> None:
        dataplane = build(texts=3)
        for text, fits in (("Good. Bad.", True), ("Good. Bad. Good.", False)):
            context = RequestContext("id")
            with nullcontext() if fits else pytest.raises(TooLarge, match="more than 3 texts"):
                await dataplane.explain_sentences(context, dataplane.model, text, None)
            assert context.texts == (3 if fits else 0)

    asyncio.run(story())
