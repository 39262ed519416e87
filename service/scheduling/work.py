"""The work of one request: rows for a classifier, and what becomes of their predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.server.errors import ClientDisconnected
from sentiment_conv1d.service.scheduling.batching import Done, Encode
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.telemetry.request_context import RequestContext

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Work(Generic[Result]):
    """Texts or ids of one request that the data plane has checked.

    `answer` turns the predictions, which have the order of the rows, into the answer of the request, and may raise
    `RequestError`.
    """

    classifier: ServedClassifier
    rows: Sequence[Any]
    encode: Encode
    size: int  # characters or ids
    answer: Callable[[list[Prediction]], Result]
    time_limit: float | None  # the client's, in seconds
    began: int  # a time of `perf_counter_ns`
    context: RequestContext | None
    shadow: ServedClassifier | None  # the shadow version, if it has to classify the rows too


class Started(Generic[Result]):
    """Work that waits for its batch. `deliver` gets what `finish` makes of the result, or of a cancellation."""

    __slots__ = ("_canceled", "_deliver", "_finish", "_work")

    def __init__(
        self,
        work: Work[Result],
        deliver: Callable[[Result | BaseException], None],
        finish: Callable[[Work[Result], Done | BaseException], Result | BaseException],
    ) -> None:
        self._work = work
        self._deliver = deliver
        self._finish = finish
        self._canceled = False

    def is_canceled(self) -> bool:
        """Return whether nothing waits for the answer any more."""
        return self._canceled

    def cancel(self) -> None:
        """Do not run, because the client has disconnected."""
        self._canceled = True
        self.end(ClientDisconnected())

    def end(self, result: Done | BaseException) -> None:
        """Deliver the answer."""
        self._deliver(self._finish(self._work, result))
