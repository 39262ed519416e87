"""The work of one request: rows for a classifier, and what becomes of their predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.server.errors import ClientDisconnected
from sentiment_conv1d.service.scheduling.batching import Done, Job
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.telemetry.request_context import RequestContext

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Work(Job, Generic[Result]):
    """Texts or ids of one request that the data plane has checked.

    `answer` turns the predictions, which have the order of the rows, into the answer of the request, and may raise
    `RequestError`. `arrived` is when the texts had been decoded.
    """

    context: RequestContext
    classifier: ServedClassifier
    answer: Callable[[list[Prediction]], Result]
    _cancelled: bool = field(default=False, init=False)
    _finish: Callable[[Work[Result], Done | BaseException], Result | BaseException] = field(init=False)
    _deliver: Callable[[Result | BaseException], None] = field(init=False)

    def set_callbacks(
        self,
        finish: Callable[[Work[Result], Done | BaseException], Result | BaseException],
        deliver: Callable[[Result | BaseException], None],
    ) -> None:
        """Let `deliver` get what `finish` returns for the result, or for a cancellation."""
        self._finish, self._deliver = finish, deliver

    def is_cancelled(self) -> bool:
        return self._cancelled

    def deliver(self, result: Done | BaseException) -> None:
        finish, deliver = self._finish, self._deliver
        del self._finish, self._deliver  # the request refers to its work: a reference cycle
        deliver(finish(self, result))

    def cancel(self) -> None:
        """Do not run, because the client has disconnected."""
        self._cancelled = True
        self.deliver(ClientDisconnected())
