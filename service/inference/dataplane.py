"""The data plane, which every protocol calls: it checks limits, runs the classifier, and counts.

Small requests run on the event loop. Medium requests run there too, in steps. Large requests run on a thread, one piece
at a time, so that the event loop stays free and other requests do not wait for all of a large one. A client that
disconnects cancels its request, and no further piece of it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter_ns
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.tokenizer import Encoding
from sentiment_conv1d.server.errors import DeadlineExceeded, RequestError, TooLarge
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.inference.admission import Admission, weigh
from sentiment_conv1d.service.inference.batching import Batcher, Done, Encode, LoopBatcher, Pulse, ThreadBatcher
from sentiment_conv1d.service.inference.classifier import Classifier
from sentiment_conv1d.service.inference.in_flight import InFlight
from sentiment_conv1d.service.inference.shadow import ShadowJob, ShadowQueue
from sentiment_conv1d.service.prediction import Prediction
from sentiment_conv1d.service.settings import BATCH_ROWS
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.service.telemetry.request_context import current
from sentiment_conv1d.service.telemetry.request_log import RequestLog
from sentiment_conv1d.service.telemetry.statistics import Stages

Result = TypeVar("Result")

#: The most characters of a small request, which runs on the event loop at once: 1 or 2 ms of work.
INLINE_CHARACTERS = 16_384

#: The most characters of a medium request, which runs on the event loop in steps of a few tenths of a millisecond.
STEPPED_CHARACTERS = 4 * INLINE_CHARACTERS

#: Turns of the event loop between two large requests. A small request needs fewer from its first byte to its answer.
_TURNS = 8

#: Texts per piece of a large request, and the most texts of a small or medium request.
PIECE_ROWS = 32


class RequestLimits(NamedTuple):
    """ParseLimits on requests. A request that exceeds one is rejected."""

    texts: int  # per request
    characters: int  # per text
    requests: int  # waiting or running
    pending_texts: int  # of these requests; small and large requests are counted separately
    seconds: float  # from the texts of a request to its predictions


class Batching(NamedTuple):
    """Dynamic batching on a thread: `mode` is auto (on CUDA only), on or off."""

    mode: Literal["auto", "on", "off"] = "auto"
    rows: int = BATCH_ROWS  # per batch
    delay: float = 0.0  # the longest wait for more rows under load, in seconds


class ParseLimits(NamedTuple):
    """ParseLimits checked before a request is parsed: two bytes can cost a parser a microsecond and 500 bytes."""

    fields: int  # fields, strings, lists and objects
    values: int  # elements of lists


class _Batchers(NamedTuple):
    """The batchers of one classifier, by the size of the request."""

    small: LoopBatcher | None  # None: use `medium`
    medium: Batcher
    large: Batcher


class DataPlane:
    """Runs texts through classifiers within limits. Belongs to one event loop.

    A request that is the only one in flight runs at once, without batching. `classifiers` are those that are served,
    see `arrange`.
    """

    def __init__(
        self,
        limits: RequestLimits,
        batching: Batching,
        metrics: Metrics,
        in_flight: InFlight,
        classifiers: Iterable[Classifier] = (),
        request_log: RequestLog | None = None,
    ) -> None:
        self._request_limits = limits
        self._batching = batching
        self._in_flight = in_flight
        self._request_log = request_log
        self._batchers: dict[Classifier, _Batchers] = {}
        self._admission = Admission(limits.requests, limits.pending_texts, metrics)
        self._parsing = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="classifier")
        #: Shows whether that thread gets on.
        self.pulse = Pulse()
        self._explaining = asyncio.Lock()
        self._shadow_queue = ShadowQueue(in_flight)
        self.arrange(classifiers)

    def predict(
        self, classifier: Classifier, texts: Sequence[str], time_limit: float | None = None
    ) -> Coroutine[Any, Any, list[Prediction]]:
        """Return predictions in the order of the texts.

        `time_limit` is the client's deadline in seconds, in addition to the limit of all requests. Raises `Invalid`,
        `TooLarge`, `Overloaded` or `DeadlineExceeded`.
        """
        return self._answer(classifier, texts, self._characters, classifier.encode, time_limit)

    def predict_ids(
        self, classifier: Classifier, ids: npt.NDArray[np.int32], time_limit: float | None = None
    ) -> Coroutine[Any, Any, list[Prediction]]:
        """Return predictions for token ids, int32 [batch, sequence_length]. Raises the errors of `predict`."""

        def measure(rows: Sequence[npt.NDArray[np.int32]]) -> int:
            self.check_count(len(rows))
            try:
                classifier.input_shape.check(ids)
            except ValueError as error:
                raise Invalid(f"tokens: {error}") from None
            return ids.size

        # The matrix serves as the sequence of rows: a list could have millions of them before the count is checked.
        rows = cast(Sequence[npt.NDArray[np.int32]], ids)
        return self._answer(classifier, rows, measure, classifier.encode_ids, time_limit)

    async def parsing_turn(self, size: int) -> None:
        """Wait until a request of `size` bytes may be parsed. Other requests are answered between two large ones."""
        if size > STEPPED_CHARACTERS:
            async with self._parsing:
                for _ in range(_TURNS):
                    await asyncio.sleep(0)

    def check_count(self, count: int) -> None:
        """Raise `Invalid` or `TooLarge` if a request must not have so many texts."""
        if not count:
            raise Invalid("texts: at least one text is needed")
        if count > self._request_limits.texts:
            raise TooLarge(f"{count} texts in one request; the limit is {self._request_limits.texts}")

    def check_text(self, text: str, number: int) -> None:
        """Raise `TooLarge` if a text has too many characters; `number` is its place in the request."""
        if len(text) > self._request_limits.characters:
            raise TooLarge(f"text {number}: {len(text)} characters; the limit is {self._request_limits.characters}")

    def expect_large(self) -> None:
        """Raise `Overloaded` if a large request would be rejected, before it is parsed."""
        self._admission.check(min(PIECE_ROWS, self._request_limits.pending_texts), large=True)

    async def explain(
        self,
        classifier: Classifier,
        text: str,
        label: str | None,
        explain: Callable[[str, Encoding, str], Result],
        time_limit: float | None = None,
    ) -> tuple[Prediction, Result]:
        """Return the prediction for a text, and what `explain`, a method of the explainer, returns for it.

        `explain` gets the text, its encoding, and the label or the predicted one. It runs on the event loop if the text
        is short, one text per turn, otherwise on the thread. Raises the errors of `predict`, those of `explain`, and
        `NotExplainable` before any work is done.
        """
        _ = classifier.explainer.network  # raises `NotExplainable`
        encodings: list[Encoding] = []

        def encode(texts: Sequence[str]) -> list[Encoding]:
            encodings[:] = classifier.encode(texts)
            return encodings

        [prediction] = await self._answer(classifier, (text,), self._characters, encode, time_limit)
        work = partial(explain, text, encodings[0], label or prediction.label)
        if len(text) <= INLINE_CHARACTERS:
            async with self._explaining:
                await asyncio.sleep(0)
                return prediction, work()
        async with self._place(weigh(1, len(text)), time_limit):
            return prediction, await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def arrange(self, classifiers: Iterable[Classifier]) -> None:
        """Set the classifiers that are served from now on. Requests in progress keep theirs."""
        self._batchers = {each: self._batchers.get(each) or self._make_batchers(each) for each in classifiers}
        self._shadow_queue.retain(self._batchers)
        texts = self._request_limits.texts
        tokens = max((each.manifest.max_tokens for each in self._batchers), default=0)
        fields = 8192 + 8 * texts  # twice as many as the largest batch needs
        self.limits = ParseLimits(fields, fields + texts * tokens)

    def close(self) -> None:
        """Finish the running batch, cancel the queued jobs, and write the request log's last records."""
        self._thread.shutdown(cancel_futures=True)
        if self._request_log is not None:
            self._request_log.close()

    def _make_batchers(self, classifier: Classifier) -> _Batchers:
        mode, rows, delay = self._batching
        if mode == "on" or (mode == "auto" and classifier.engine.device == "cuda"):
            dynamic = ThreadBatcher(classifier, self._thread, self.pulse, rows, delay)
            return _Batchers(None, dynamic, dynamic)
        return _Batchers(
            LoopBatcher(classifier, PIECE_ROWS, INLINE_CHARACTERS, stepwise=False),
            LoopBatcher(classifier, PIECE_ROWS, STEPPED_CHARACTERS, stepwise=True),
            ThreadBatcher(classifier, self._thread, self.pulse, PIECE_ROWS),
        )

    async def _answer(
        self,
        classifier: Classifier,
        rows: Sequence[Any],
        measure: Callable[[Sequence[Any]], int],
        encode: Encode,
        time_limit: float | None,
    ) -> list[Prediction]:
        began = perf_counter_ns()
        shadow = None
        if (context := current.get()) is not None:
            shadow, context.shadow = context.shadow, None
            context.manifest = classifier.manifest
            context.statistics = classifier.statistics
            context.decoded = began
            context.hurried = time_limit is not None and time_limit <= self._request_limits.seconds
        classifier.statistics.began()
        try:
            size = measure(rows)
            batchers = self._batchers.get(classifier) or self._make_batchers(classifier)
            few = len(rows) <= PIECE_ROWS
            if batchers.small is not None and few and size <= INLINE_CHARACTERS:
                if len(self._in_flight) == 1:
                    done = batchers.small.run_at_once(rows, encode)
                else:
                    done = await self._in_turn(batchers.small, rows, encode, size, time_limit)
            else:
                batcher = batchers.medium if few and size <= STEPPED_CHARACTERS else batchers.large
                done = await self._in_pieces(batcher, rows, encode, size, time_limit)
        except RequestError:
            classifier.statistics.failed(perf_counter_ns() - began)
            raise
        finally:
            classifier.statistics.ended()
        ended = perf_counter_ns()
        if context is not None:
            context.predicted = ended
            context.stages = done.stages
            context.texts = len(done.predictions)
        classifier.statistics.count_soon((done.predictions, ended - began, done.stages))
        if self._request_log is not None and context is not None:
            self._request_log.add(context, classifier.manifest, rows, done.predictions)
        if shadow is not None:
            taken = done.stages.tokenize + done.stages.infer
            self._shadow_queue.add(ShadowJob(shadow, classifier.labels, rows, done.predictions, taken))
        return done.predictions

    async def _in_turn(
        self, batcher: LoopBatcher, rows: Sequence[Any], encode: Encode, size: int, time_limit: float | None
    ) -> Done:
        self._admission.enter(len(rows), large=False)
        try:
            return await batcher.submit(rows, encode, size, self._seconds(time_limit))
        finally:
            self._admission.leave(len(rows), large=False)

    async def _in_pieces(
        self, batcher: Batcher, rows: Sequence[Any], encode: Encode, size: int, time_limit: float | None
    ) -> Done:
        predictions: list[Prediction] = []
        times = []
        async with self._place(weigh(len(rows), size), time_limit):
            for start in range(0, len(rows), batcher.max_rows):
                piece = await batcher.submit(rows[start : start + batcher.max_rows], encode, size)
                predictions += piece.predictions
                times.append(piece.stages)
        return Done(predictions, Stages(*map(sum, zip(*times, strict=True))))

    @asynccontextmanager
    async def _place(self, texts: int, time_limit: float | None) -> AsyncIterator[None]:
        """Count a large request in admission control as so many texts, and enforce its time limit."""
        seconds = self._seconds(time_limit)
        self._admission.enter(texts, large=True)
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {seconds:g} s") from None
        finally:
            self._admission.leave(texts, large=True)

    def _seconds(self, time_limit: float | None) -> float:
        limit = self._request_limits.seconds
        return limit if time_limit is None or time_limit > limit else time_limit

    def _characters(self, texts: Sequence[str]) -> int:
        """Return the number of characters of all texts. Raises `TooLarge` if a text has too many."""
        self.check_count(len(texts))
        characters = 0
        for number, text in enumerate(texts):
            self.check_text(text, number)
            characters += len(text)
        return characters
