"""The data plane, which every protocol calls: it checks limits, runs the classifier, and counts.

Small requests run on the event loop. Medium requests run there too, in steps. Large requests run on a thread, one piece
at a time, so that the event loop stays free and other requests do not wait for all of a large one. A client that
disconnects cancels its request, and no further piece of it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import islice, repeat
from time import perf_counter_ns
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.manifest import NO_ANSWER
from sentiment_conv1d.artifact.tokenizer import Encoding
from sentiment_conv1d.inference.engine import NATIVE
from sentiment_conv1d.inference.explaining.explainer import Explanation
from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.inference.sentences import Sentence, Span, attribute, split
from sentiment_conv1d.server.errors import ClientDisconnected, DeadlineExceeded, RequestError, TooLarge
from sentiment_conv1d.service.errors import Invalid, explaining
from sentiment_conv1d.service.scheduling.admission import Admission, weigh
from sentiment_conv1d.service.scheduling.batching import (
    Batch,
    Batcher,
    Done,
    Encode,
    LoopBatcher,
    Piece,
    Pulse,
    ThreadBatcher,
    finish_pieces,
    submit,
)
from sentiment_conv1d.service.scheduling.parsing import Parsing
from sentiment_conv1d.service.scheduling.refusals import READ, RefusalCost
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.scheduling.work import Work
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.service.telemetry.request_log import RequestLog
from sentiment_conv1d.service.telemetry.statistics import BatchTimes

Result = TypeVar("Result")

#: The most characters of a small request, which runs on the event loop at once: 1 or 2 ms of work.
INLINE_CHARACTERS = 16_384

#: The most characters of a medium request, which runs on the event loop in steps of a few tenths of a millisecond.
STEPPED_CHARACTERS = 4 * INLINE_CHARACTERS

#: Splitting a text into sentences takes up to five times as long as explaining it.
_SPLIT_COST = 4

#: Texts per piece of a large request, and the most texts of a small or medium request.
PIECE_ROWS = 32


class RequestLimits(NamedTuple):
    """Limits on requests. A request that exceeds one is rejected."""

    texts: int  # per request
    characters: int  # per text
    requests: int  # waiting or running
    pending_texts: int  # of these requests; small and large requests are counted separately
    seconds: float  # from the texts of a request to its predictions


class Batching(NamedTuple):
    """Dynamic batching on a thread: `mode` is auto (on CUDA only), on or off."""

    mode: Literal["auto", "on", "off"]
    rows: int  # per batch
    delay: float  # the longest wait for more rows under load, in seconds


class ParseLimits(NamedTuple):
    """Limits checked before a request is parsed: two bytes can cost a parser a microsecond and 500 bytes."""

    fields: int  # fields, strings, lists and objects
    values: int  # elements of lists


class _Batchers(NamedTuple):
    """The batchers of one classifier, by the size of the request."""

    small: LoopBatcher[Work[Any]] | None  # None: use `medium`
    medium: Batcher[Piece]
    large: Batcher[Piece]


class DataPlane:
    """Runs texts through classifiers within limits. Belongs to one event loop.

    `read_texts` and `read_ids` check a request, and return its work. There are two paths for it. Small work on a CPU
    is started with `start`, and needs no task. Any other work runs in a task, with `run`. `classifiers` are those that
    are served, see `serve`.
    """

    def __init__(
        self,
        limits: RequestLimits,
        batching: Batching,
        metrics: Metrics,
        classifiers: Iterable[ServedClassifier] = (),
        request_log: RequestLog | None = None,
    ) -> None:
        self._request_limits = limits
        self._batching = batching
        self._request_log = request_log
        self._batchers: dict[ServedClassifier, _Batchers] = {}
        self._admission = Admission(limits.requests, limits.pending_texts, metrics)
        self._large = min(PIECE_ROWS, limits.pending_texts)  # assumed texts of a large request that is not parsed yet
        self.parsing = Parsing(limits.requests, large=STEPPED_CHARACTERS)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="classifier")
        #: Shows whether that thread makes progress.
        self.pulse = Pulse()
        self._explaining = asyncio.Lock()
        self.serve(classifiers)

    async def predict(
        self,
        context: RequestContext,
        classifier: ServedClassifier,
        texts: Sequence[str],
        time_limit: float | None = None,
    ) -> list[Prediction]:
        """Return predictions in the order of the texts. Raises the errors of `read_texts` and `run`."""
        return await self.run(self.read_texts(context, classifier, texts, list, time_limit))

    def read_texts(
        self,
        context: RequestContext,
        classifier: ServedClassifier,
        texts: Sequence[str],
        answer: Callable[[list[Prediction]], Result],
        time_limit: float | None = None,
        *,
        reports: bool = False,
    ) -> Work[Result]:
        """Return the work of a request for predictions of texts.

        `time_limit` is a limit of the request in seconds, in addition to the client's deadline and to the limit of all
        requests. If the model has no answer to a text, the request fails, unless `answer` reports such predictions.
        Raises `Invalid` or `TooLarge`.
        """

        def measure(texts: Sequence[str]) -> int:
            return self._characters(texts) * classifier.tokenizer.cost

        work = self._read(context, classifier, texts, measure, classifier.encode, answer, time_limit)
        work.reports = reports
        return work

    def read_ids(
        self,
        context: RequestContext,
        classifier: ServedClassifier,
        ids: npt.NDArray[np.int32],
        answer: Callable[[list[Prediction]], Result],
        time_limit: float | None = None,
    ) -> Work[Result]:
        """Return the work of a request for predictions of token ids, int32 [batch, sequence_length].

        Raises the errors of `read_texts`.
        """

        def measure(rows: Sequence[npt.NDArray[np.int32]]) -> int:
            self.check_count(len(rows))
            try:
                classifier.input_shape.check(ids)
            except ValueError as error:
                raise Invalid(f"tokens: {error}") from None
            return ids.size

        # The matrix serves as the sequence of rows: a list could have millions of them before the count is checked.
        rows = cast(Sequence[npt.NDArray[np.int32]], ids)
        return self._read(context, classifier, rows, measure, classifier.encode_ids, answer, time_limit)

    def start(self, work: Work[Result], reply: Callable[[Result | BaseException], None]) -> bool:
        """Run work in the next turn of the event loop, together with the work that starts in this turn.

        `reply` gets the answer, or why there is none. Returns False if the work is too large for one turn, or runs on
        the thread: then `run` it. Raises `Overloaded`.
        """
        batcher = self._batchers_of(work.classifier).small
        if batcher is None or not _is_small(work):
            return False
        statistics = work.classifier.statistics
        try:
            self._admission.enter(len(work.rows), large=False, caller=work.context.caller)
        except RequestError:
            statistics.failed(perf_counter_ns() - work.arrived)
            raise
        statistics.began()
        work.reply = reply
        batcher.add(work)
        return True

    def cancel(self, work: Work[Any]) -> None:
        """End started work, unless it has ended, because the client has disconnected. It does not run."""
        if not work.over:
            self._finish([work], ClientDisconnected())

    async def run(self, work: Work[Result]) -> Result:
        """Run work and return its answer. Raises `Overloaded`, `DeadlineExceeded`, and the errors of the answer."""
        answered: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if self.start(work, partial(_settle, answered)):
            try:
                return await answered
            finally:
                self.cancel(work)
        statistics = work.classifier.statistics
        statistics.began()
        try:
            predictions, times = await self._run_pieces(work)
        except RequestError:
            statistics.failed(perf_counter_ns() - work.arrived)
            raise
        finally:
            statistics.ended()
        predicted = perf_counter_ns()
        statistics.count(_answers_among(work.classifier, predictions), [work.arrived], times, predicted)
        return self._answer(work, predictions, times, predicted)

    def check_count(self, count: int) -> None:
        """Raise `Invalid` if a request has no text, or `TooLarge` if it has too many."""
        if not count:
            raise Invalid("texts: at least one text is needed")
        if count > self._request_limits.texts:
            raise TooLarge(f"{count} texts in one request; the limit is {self._request_limits.texts}")

    def check_text(self, text: str, number: int) -> None:
        """Raise `TooLarge` if a text has too many characters; `number` is its place in the request."""
        if len(text) > self._request_limits.characters:
            raise TooLarge(f"text {number}: {len(text)} characters; the limit is {self._request_limits.characters}")

    def expect(self, size: int, caller: str = "", cost: RefusalCost = READ) -> None:
        """Raise `Overloaded` if a request of `size` bytes of a caller would be rejected, before it is received.

        `cost` is that of its refusal.
        """
        if size > INLINE_CHARACTERS or not self.runs_in_turns:
            self._admission.expect(self._weigh_unparsed(size, caller), size, large=True, caller=caller, cost=cost)
        else:
            self._admission.expect(1, size, large=False, caller=caller, cost=cost)

    def announce(self, size: int, caller: str = "", cost: RefusalCost = READ) -> None:
        """Count a complete large request of `size` bytes until its task has started. Raises `Overloaded`.

        `cost` is that of its refusal.
        """
        self._admission.announce(self._weigh_unparsed(size, caller), size, caller=caller, cost=cost)

    def pause(self) -> float:
        """Return for how many seconds no request should be read, so that refusals do not displace accepted work."""
        return self._admission.pause()

    @contextmanager
    def parsing_large(self, size: int, caller: str) -> Iterator[None]:
        """Count a large request of `size` bytes while it waits to be parsed, and is. Raises `Overloaded`."""
        texts = self._weigh_unparsed(size, caller)
        self._admission.enter(texts, size, large=True, caller=caller)
        try:
            yield
        finally:
            self._admission.leave(texts, size, large=True, caller=caller)

    async def explain(
        self,
        context: RequestContext,
        classifier: ServedClassifier,
        text: str,
        label: str | None,
        explain: Callable[[str, Encoding, str], Result],
    ) -> tuple[Prediction, Result]:
        """Return the prediction for a text, and what `explain`, a method of the explainer, returns for it.

        `explain` gets the text, its encoding, and the label or the predicted one. It runs on the event loop if the text
        is short, one text per turn, otherwise on the thread, and counts as a large request. Raises the errors of
        `predict`, those of `explain`, and `NotExplainable` before any work is done.
        """
        [prediction], result = await self._explain(context, classifier, text, (), label, explain)
        return prediction, result

    async def explain_sentences(
        self, context: RequestContext, classifier: ServedClassifier, text: str, label: str | None, filters: int = 0
    ) -> tuple[Prediction, Explanation, list[Sentence]]:
        """Like `explain`, but return the explanation with this number of filters, and the sentences of the text.

        Every sentence counts as one more text of the request. Raises `TooLarge` before any prediction if there are too
        many. Splitting runs where the explanation runs, and also counts as a large request.
        """
        with explaining():
            _ = classifier.explainer.network  # raises `NotExplainable`
        self.check_text(text, 0)
        spans = await self._alone(context, len(text), partial(self._split, text), _SPLIT_COST)
        sentences = [text[start:end] for start, end in spans]
        explain = partial(classifier.explainer.explain, filters=filters)
        [prediction, *others], explanation = await self._explain(context, classifier, text, sentences, label, explain)
        return prediction, explanation, attribute(spans, others, explanation.words)

    async def _explain(
        self,
        context: RequestContext,
        classifier: ServedClassifier,
        text: str,
        others: Sequence[str],
        label: str | None,
        explain: Callable[[str, Encoding, str], Result],
    ) -> tuple[list[Prediction], Result]:
        """Return the predictions for a text and for others, and what `explain` returns for the first one."""
        with explaining():
            _ = classifier.explainer.network  # raises `NotExplainable`
            predictions = await self.predict(context, classifier, (text, *others))

            def work() -> Result:
                [encoding] = classifier.encode((text,))
                return explain(text, encoding, label or predictions[0].label)

            return predictions, await self._alone(context, len(text) * classifier.tokenizer.cost, work)

    async def _alone(self, context: RequestContext, size: int, work: Callable[[], Result], cost: int = 1) -> Result:
        """Run work on a text of this size as a large request: on the event loop if it is short, else on the thread.

        Admission control counts each character as `cost` characters.
        """
        async with self._place(context.caller, weigh(1, cost * size), size, self._time_limit(context)):
            if size > INLINE_CHARACTERS:
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
            async with self._explaining:
                await asyncio.sleep(0)
                return work()

    def _split(self, text: str) -> list[Span]:
        """Return the sentences of a text. Raises `TooLarge` if a request cannot have so many texts."""
        limit = self._request_limits.texts
        spans = list(islice(split(text), limit))
        if len(spans) == limit:
            raise TooLarge(f"sentences: the text and its sentences are more than {limit} texts, the limit of a request")
        return spans

    def serve(self, classifiers: Iterable[ServedClassifier]) -> None:
        """Set the classifiers that are served from now on. Requests in progress keep theirs."""
        self._batchers = {each: self._batchers.get(each) or self._make_batchers(each) for each in classifiers}
        #: Whether small work of any classifier runs on the event loop, so that it can be started.
        self.runs_in_turns = any(each.small is not None for each in self._batchers.values())
        texts = self._request_limits.texts
        tokens = max((each.manifest.max_tokens for each in self._batchers), default=0)
        fields = 8192 + 8 * texts  # twice as many as the largest batch needs
        self.limits = ParseLimits(fields, fields + texts * tokens)

    def close(self) -> None:
        """Finish the running batch, cancel the queued jobs, and write the request log's last records."""
        self._thread.shutdown(cancel_futures=True)
        if self._request_log is not None:
            self._request_log.close()

    def _make_batchers(self, classifier: ServedClassifier) -> _Batchers:
        mode, rows, delay = self._batching
        if mode == "on" or (mode == "auto" and classifier.engine.device == "cuda"):
            dynamic = ThreadBatcher(classifier, finish_pieces, self._thread, self.pulse, rows, delay)
            return _Batchers(None, dynamic, dynamic)
        large = ThreadBatcher(classifier, finish_pieces, self._thread, self.pulse, PIECE_ROWS)
        if classifier.tokenizer.cost > 1:  # a step of the event loop is too short to read a text of medium size
            small = LoopBatcher(classifier, self._finish, PIECE_ROWS, INLINE_CHARACTERS, stepwise=False)
            return _Batchers(small, large, large)
        # It takes less time for `PIECE_ROWS` whole reviews than other graphs for `INLINE_CHARACTERS`.
        together = STEPPED_CHARACTERS if classifier.engine.operator == NATIVE else INLINE_CHARACTERS
        return _Batchers(
            LoopBatcher(classifier, self._finish, PIECE_ROWS, together, stepwise=False),
            LoopBatcher(classifier, finish_pieces, PIECE_ROWS, STEPPED_CHARACTERS, stepwise=True),
            large,
        )

    def _read(
        self,
        context: RequestContext,
        classifier: ServedClassifier,
        rows: Sequence[Any],
        measure: Callable[[Sequence[Any]], int],
        encode: Encode,
        answer: Callable[[list[Prediction]], Result],
        time_limit: float | None,
    ) -> Work[Result]:
        """Return the work of a request. `measure` returns the size of the rows, or raises `RequestError`."""
        context.manifest, context.statistics = classifier.manifest, classifier.statistics
        context.decoded = decoded = perf_counter_ns()
        seconds = self._time_limit(context, time_limit)
        try:
            size = measure(rows)
        except RequestError:
            classifier.statistics.failed(perf_counter_ns() - decoded)
            raise
        return Work(rows, encode, size, seconds, decoded, context, classifier, answer)

    def _finish(self, works: Sequence[Work[Any]], result: Batch | BaseException) -> None:
        """End started work that ran together, or that did not run, and answer its requests."""
        now = perf_counter_ns()
        statistics = works[0].classifier.statistics  # a batch has one model
        statistics.ended(len(works))
        self._admission.leave_together([(work.context.caller, len(work.rows)) for work in works])
        for work in works:
            work.over = True
            if isinstance(result, RequestError):
                statistics.failed(now - work.arrived)
        replies = self._answers(works, result, now) if isinstance(result, Batch) else repeat(result)
        for work, answer in zip(works, replies, strict=False):
            reply = work.reply
            del work.reply  # the request refers to its work: a reference cycle
            reply(answer)
        if isinstance(result, Batch):
            answers = _answers_among(works[0].classifier, result.predictions)
            statistics.count(answers, [work.arrived for work in works], result.times, now)

    def _answers(self, works: Sequence[Work[Any]], batch: Batch, predicted: int) -> Iterator[Any]:
        """Yield the answer of each work of a batch, or the error that it raises."""
        start = 0
        for work in works:
            end = start + len(work.rows)
            try:
                answer = self._answer(work, batch.predictions[start:end], batch.times, predicted)
            except Exception as error:
                yield error
            else:
                yield answer
            start = end

    def _answer(self, work: Work[Result], predictions: list[Prediction], times: BatchTimes, predicted: int) -> Result:
        """Log a request, and return its answer."""
        context = work.context
        context.predicted, context.batch, context.texts = predicted, times, len(predictions)
        rows, answers = work.rows, _answers_among(work.classifier, predictions)
        if len(answers) < len(predictions):
            if not work.reports:
                raise unanswered(next(number for number, each in enumerate(predictions) if not each.is_answer))
            rows = [row for row, each in zip(rows, predictions, strict=True) if each.is_answer]
        if self._request_log is not None and answers:
            self._request_log.add(context, work.classifier.manifest, rows, answers)
        return work.answer(predictions)

    def _weigh_unparsed(self, size: int, caller: str) -> int:
        """Return how many texts a large request of `size` bytes counts as before it is parsed."""
        return self._admission.weigh_unparsed(weigh(self._large, size), size, caller)

    def _batchers_of(self, classifier: ServedClassifier) -> _Batchers:
        return self._batchers.get(classifier) or self._make_batchers(classifier)

    async def _run_pieces(self, work: Work[Any]) -> Done:
        """Run large work. Other requests can run between its pieces, whose times add up."""
        _, medium, large = self._batchers_of(work.classifier)
        rows, size = work.rows, work.size
        batcher = medium if len(rows) <= PIECE_ROWS and size <= STEPPED_CHARACTERS else large
        predictions: list[Prediction] = []
        queue = tokenize = infer = 0
        async with self._place(work.context.caller, weigh(len(rows), size), size, work.seconds):
            for start in range(0, len(rows), batcher.max_rows):
                submitted = perf_counter_ns()
                piece = await submit(batcher, rows[start : start + batcher.max_rows], work.encode, size)
                predictions += piece.predictions
                queue += piece.times.started - submitted
                tokenize += piece.times.tokenize
                infer += piece.times.infer
        return Done(predictions, BatchTimes(work.arrived + queue, tokenize, infer))

    @asynccontextmanager
    async def _place(self, caller: str, texts: int, size: int, seconds: float) -> AsyncIterator[None]:
        """Count a large request of a caller in admission control as `texts` texts, and enforce its time limit."""
        self._admission.enter(texts, size, large=True, caller=caller)
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {seconds:g} s") from None
        finally:
            self._admission.leave(texts, size, large=True, caller=caller)

    def _time_limit(self, context: RequestContext, own: float | None = None) -> float:
        """Return the seconds that a request may take, and note whether its client set them.

        `own` is the limit in the request. The client's deadline for the call is in its context.
        """
        seconds, context.hurried = self._request_limits.seconds, False
        for limit in (context.time_limit, own):
            if limit is not None and limit <= seconds:
                seconds, context.hurried = limit, True
        return seconds

    def _characters(self, texts: Sequence[str]) -> int:
        """Return the number of characters of all texts. Raises `TooLarge` if a text has too many."""
        self.check_count(len(texts))
        characters = 0
        for number, text in enumerate(texts):
            self.check_text(text, number)
            characters += len(text)
        return characters


def _settle(answered: asyncio.Future[Result], result: Result | BaseException) -> None:
    """Set the answer of a request, or why there is none, unless it is cancelled."""
    if answered.done():
        return
    if isinstance(result, BaseException):
        answered.set_exception(result)
    else:
        answered.set_result(result)


def unanswered(number: int) -> Invalid:
    """Return the error of a text that the model has no answer to; `number` is its place in the request."""
    return Invalid(f"text {number}: it has no answer: {NO_ANSWER}")


def _answers_among(classifier: ServedClassifier, predictions: list[Prediction]) -> list[Prediction]:
    """Return the predictions that are answers of the model. Most models answer every text."""
    return [each for each in predictions if each.is_answer] if classifier.manifest.needs_words else predictions


def _is_small(work: Work[Any]) -> bool:
    """Return whether work runs in one turn of the event loop."""
    return len(work.rows) <= PIECE_ROWS and work.size <= INLINE_CHARACTERS
