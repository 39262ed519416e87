"""Shadow versions: classify answered requests once more, to compare a version with the one that answers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Container, Sequence
from contextvars import Context
from time import perf_counter_ns
from typing import NamedTuple

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

#: The most requests that wait for their shadow version in one worker.
MAX_WAITING = 16

#: The most texts of such a request, and the most characters of each, so that one text takes about a millisecond.
MAX_TEXTS = 32
MAX_CHARACTERS = 16_384

#: Seconds between two checks whether requests are still in flight.
_PAUSE_SECONDS = 0.005


class ShadowJob(NamedTuple):
    """A request that was answered, and that a shadow version classifies too."""

    classifier: ServedClassifier  # the shadow version
    labels: Sequence[str]  # of the version that answered
    texts: Sequence[str]
    answer: Sequence[Prediction]
    nanoseconds: int  # tokenization and inference of the answer


class ShadowQueue:
    """The requests that wait for their shadow version. Belongs to one event loop.

    They run on the event loop, one text per turn, while no request is in flight. A request that arrives waits for one
    text at most. Requests that do not fit are dropped and counted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._jobs: deque[ShadowJob] = deque()
        self._task: asyncio.Task[None] | None = None

    def add(self, job: ShadowJob) -> None:
        """Add a request."""
        large = len(job.texts) > MAX_TEXTS or max(map(len, job.texts)) > MAX_CHARACTERS
        if large or len(self._jobs) >= MAX_WAITING:
            job.classifier.statistics.add(dropped=1)
            return
        self._jobs.append(job)
        if self._task is None or self._task.done():
            # An empty context: the task must not keep that of the request.
            self._task = asyncio.get_running_loop().create_task(self._work(), context=Context())

    def retain(self, classifiers: Container[ServedClassifier]) -> None:
        """Drop the requests of versions that are no longer served."""
        for job in self._jobs:
            if job.classifier not in classifiers:
                job.classifier.statistics.add(dropped=1)
        self._jobs = deque(job for job in self._jobs if job.classifier in classifiers)

    async def _work(self) -> None:
        while self._jobs:
            await self._idle()
            if self._jobs:
                await self._compare(self._jobs.popleft())

    async def _compare(self, job: ShadowJob) -> None:
        nanoseconds = 0
        predictions: list[Prediction] = []
        try:
            for text in job.texts:
                await self._idle()
                began = perf_counter_ns()
                predictions += job.classifier.predict((text,))
                nanoseconds += perf_counter_ns() - began
        except Exception:
            logger.exception("a shadow version failed")
            job.classifier.statistics.add(dropped=1)
            return
        pairs = list(zip(job.answer, predictions, strict=True))
        agreed = sum(answer.label == prediction.label for answer, prediction in pairs)
        comparable = job.labels == job.classifier.labels
        difference = sum(_difference(*pair) if comparable else 1.0 for pair in pairs)
        job.classifier.statistics.add(classified=1, same=agreed, other=len(pairs) - agreed, difference=difference)
        job.classifier.statistics.add(shadow=nanoseconds, answer=job.nanoseconds)

    async def _idle(self) -> None:
        """Wait until no request is in flight. In two turns, the event loop begins the requests that have arrived."""
        while True:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not self._metrics.in_flight:
                return
            await asyncio.sleep(_PAUSE_SECONDS)


def _difference(answer: Prediction, prediction: Prediction) -> float:
    """Return half the sum of the absolute differences of the probabilities, from 0 to 1."""
    pairs = zip(answer.probabilities, prediction.probabilities, strict=True)
    return sum(abs(float(one) - float(other)) for one, other in pairs) / 2
