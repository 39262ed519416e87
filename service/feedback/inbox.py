"""Takes feedback: checks it, writes it to the feedback log, and counts whether it agrees with the prediction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from time import monotonic, time_ns
from typing import Any, NamedTuple, Protocol, TypeAlias

from sentiment_conv1d.model.commands.counting import counted
from sentiment_conv1d.model.manifest import Manifest
from sentiment_conv1d.server.errors import DeadlineExceeded, Overloaded, RequestError, TooLarge, Unavailable
from sentiment_conv1d.service.errors import Invalid, NotFound
from sentiment_conv1d.service.feedback.ids import Answered, FeedbackIds
from sentiment_conv1d.service.telemetry.metrics import FEEDBACK_REFUSED, Metrics
from sentiment_conv1d.service.telemetry.record_queue import RecordQueue
from sentiment_conv1d.service.telemetry.request_log import timestamp
from sentiment_conv1d.service.telemetry.statistics import Statistics

#: The most bytes of a comment.
MAX_COMMENT_BYTES = 4096

#: An estimate of the memory of a request that waits for its record to be written. It allows 256 of them.
_WAITING_BYTES = 64 * 1024

#: The most seconds that a request waits for the log. It is more than an HTTP server has for an event, and less than a
#: shutdown, which waits for the running requests.
_MAX_SECONDS = 10.0


@dataclass(frozen=True)
class Feedback:
    """What a caller says about the prediction for one text."""

    request_id: str  # the feedback id of the answer
    label: str  # the right one
    comment: str = ""
    index: int = 0  # of the text among those of the request


class Receipt(NamedTuple):
    """Which version predicted which label."""

    model: str
    version: str
    predicted: str
    agrees: bool  # whether it is the label of the feedback


class Version(Protocol):
    """A version of a model that is served."""

    manifest: Manifest
    statistics: Statistics


#: Returns a version by the name of its model and its number. Raises `NotFound`.
Find: TypeAlias = Callable[[str, str], Version]


class Rate:
    """Limits the events per second, on average: a token bucket that holds the tokens of one second."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._most = self._tokens = max(1.0, per_second)
        self._filled = monotonic()

    def allows(self) -> bool:
        """Return whether an event may happen now. If so, it counts."""
        now = monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._filled) * self.per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Inbox:
    """Takes the feedback of one worker. `written` returns how a comment is written, on the thread of the queue.

    `seconds` is the time limit of a request, which waits for the log for at most ten of them.
    """

    def __init__(
        self,
        ids: FeedbackIds,
        queue: RecordQueue,
        rate: Rate,
        seconds: float,
        *,
        written: Callable[[str], str],
        metrics: Metrics,
    ) -> None:
        self.ids = ids
        self._queue = queue
        self._rate = rate
        self._seconds = min(seconds, _MAX_SECONDS)
        self._written = written
        self._metrics = metrics
        self.close = queue.close

    async def take(self, feedback: Feedback, find: Find) -> Receipt:
        """Write feedback to the log and count it. It is complete when the log has it.

        Raises `NotFound`, `Invalid`, `TooLarge`, `Overloaded`, `Unavailable` or `DeadlineExceeded`.
        """
        answered = self._read(feedback.request_id)
        version = self._version(answered, find)
        predicted = self._check(feedback, answered, version.manifest)
        if not self._rate.allows():
            raise self._refusal("rate", Overloaded(f"more than {self._rate.per_second:g} feedback per second"))
        await self._store(partial(_record, feedback, answered, predicted, self._written, time_ns() // 1_000_000))
        agrees = predicted == feedback.label
        version.statistics.add(**{"agree" if agrees else "disagree": 1})
        return Receipt(answered.model, str(answered.version), predicted, agrees)

    def _read(self, given: str) -> Answered:
        if (answered := self.ids.read(given)) is None:
            reason = "is not the X-Feedback-ID of an answer of this service"
            raise self._refusal("unknown_id", NotFound(f"request_id: {given[:40]!r} {reason}"))
        return answered

    def _version(self, answered: Answered, find: Find) -> Version:
        try:
            version = find(answered.model, str(answered.version))
        except RequestError as error:
            raise self._refusal("unserved", error) from None
        if not answered.is_by(version.manifest):
            replaced = f"the files of {answered.model}, version {answered.version}, were replaced after the answer"
            raise self._refusal("unserved", NotFound(f"request_id: {replaced}"))
        return version

    def _check(self, feedback: Feedback, answered: Answered, manifest: Manifest) -> str:
        """Return the label that was predicted for the text."""
        if feedback.index >= answered.texts:
            texts = counted(answered.texts, "text")
            raise self._refusal("invalid", Invalid(f"index: {feedback.index}; the request had {texts}"))
        if feedback.label not in manifest.labels:
            labels = ", ".join(manifest.labels)
            raise self._refusal("invalid", Invalid(f"label: {manifest.name} has the labels {labels}"))
        if (size := len(feedback.comment.encode())) > MAX_COMMENT_BYTES:
            raise self._refusal("invalid", TooLarge(f"comment: {size} bytes; the limit is {MAX_COMMENT_BYTES}"))
        return answered.label(feedback.index, manifest.labels)

    async def _store(self, compose: Callable[[], Mapping[str, Any]]) -> None:
        stored: Future[Exception | None] = Future()
        stored.set_running_or_notify_cancel()  # a request that no longer waits must not cancel it: the thread sets it
        if not self._queue.put(compose, _WAITING_BYTES, stored.set_result):
            raise self._refusal("waiting", Overloaded("too much feedback waits for the feedback log"))
        try:
            async with asyncio.timeout(self._seconds):
                failure = await asyncio.wrap_future(stored)
        except TimeoutError:
            raise self._refusal("failed", DeadlineExceeded(f"not stored within {self._seconds:g} s")) from None
        if failure is not None:
            raise self._refusal("failed", Unavailable("the feedback log cannot be written now; send it again later"))

    def _refusal(self, reason: str, error: RequestError) -> RequestError:
        self._metrics.count(FEEDBACK_REFUSED, reason)
        return error


def _record(
    feedback: Feedback, answered: Answered, predicted: str, written: Callable[[str], str], time: int
) -> dict[str, Any]:
    record = {
        "time": timestamp(time),
        "request_id": answered.request_id,
        "index": feedback.index,
        "predicted_at": timestamp(answered.time),
        "model": answered.model,
        "version": answered.version,
        "predicted": predicted,
        "label": feedback.label,
    }
    return record | {"comment": written(feedback.comment)} if feedback.comment else record
