"""The work of one request: rows for a classifier, and what becomes of their predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.service.scheduling.batching import Job
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.telemetry.request_context import RequestContext

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Work(Job, Generic[Result]):
    """Texts or ids of one request that the data plane has checked.

    `answer` turns the predictions, which have the order of the rows, into the answer of the request, and may raise
    `RequestError`. If it does not `report`, each of them is an answer of the model. `arrived` is when the texts had
    been decoded.
    """

    context: RequestContext
    classifier: ServedClassifier
    answer: Callable[[list[Prediction]], Result]
    reports: bool = False
    reply: Callable[[Result | BaseException], None] = field(init=False)  # takes the answer, or why there is none
    over: bool = field(default=False, init=False)
