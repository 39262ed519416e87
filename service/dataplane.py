"""What every protocol calls: limits, then the classifier, then the counters.

Small requests run where they arrive: a run takes about 0.1 ms, and handing it to a thread would cost as much. Large
ones go to a thread, a piece at a time, so that the event loop stays free and one large request does not keep
the others waiting until all of it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from service.classifier import MAX_ROWS, Classifier, Prediction
from service.errors import DeadlineExceeded, Invalid, Overloaded, TooLarge
from service.metrics import Metrics
from service.repository import Repository
from service.settings import Settings

#: Characters that are answered on the event loop if they fit into one run, about 2 ms of work.
INLINE_CHARACTERS = 16_384


class DataPlane:
    """The models, their limits and their counters. Belongs to one event loop."""

    def __init__(self, repository: Repository, settings: Settings, metrics: Metrics) -> None:
        self.repository = repository
        self.settings = settings
        self.metrics = metrics
        self.draining = False
        self._pending = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="classifier")

    async def predict(self, texts: Sequence[str], model: str | None = None) -> tuple[Classifier, list[Prediction]]:
        """The classifier that answered and its predictions, in the order of the texts.

        Raises `NotFound`, `Invalid`, `TooLarge`, `Overloaded` or `DeadlineExceeded`.
        """
        classifier = self.repository.get(model)
        characters = self._check(texts)
        if characters <= INLINE_CHARACTERS and len(texts) <= MAX_ROWS:
            predictions = classifier.predict(texts)
        else:
            predictions = await self._predict_apart(classifier, texts)
        self.metrics.predictions(classifier.manifest.name, predictions)
        return classifier, predictions

    def close(self) -> None:
        """Let the running piece finish and drop what waits."""
        self._thread.shutdown(cancel_futures=True)

    def _check(self, texts: Sequence[str]) -> int:
        """The characters of all texts, if no limit is passed."""
        if not texts:
            raise Invalid("texts: at least one text is needed")
        if len(texts) > self.settings.max_batch_texts:
            raise TooLarge(f"{len(texts)} texts in one request; the limit is {self.settings.max_batch_texts}")
        characters = 0
        for number, text in enumerate(texts):
            if len(text) > self.settings.max_text_characters:
                raise TooLarge(
                    f"text {number}: {len(text)} characters; the limit is {self.settings.max_text_characters}"
                )
            characters += len(text)
        return characters

    async def _predict_apart(self, classifier: Classifier, texts: Sequence[str]) -> list[Prediction]:
        if self._pending + len(texts) > self.settings.max_pending_texts:
            raise Overloaded(
                f"{self._pending} texts are waiting and {len(texts)} more would pass the limit of "
                f"{self.settings.max_pending_texts}"
            )
        deadline = monotonic() + self.settings.request_timeout
        loop = asyncio.get_running_loop()
        predictions: list[Prediction] = []
        self._pending += len(texts)
        try:
            for start in range(0, len(texts), MAX_ROWS):
                piece = texts[start : start + MAX_ROWS]
                async with asyncio.timeout(deadline - monotonic()):
                    predictions += await loop.run_in_executor(self._thread, classifier.predict, piece)
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {self.settings.request_timeout:g} s") from None
        finally:
            self._pending -= len(texts)
        return predictions
