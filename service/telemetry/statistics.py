"""What is counted of one version of a model, in all workers together."""

from __future__ import annotations

from collections.abc import Sequence
from time import time

from sentiment_conv1d.service.inference.prediction import Prediction
from sentiment_conv1d.service.telemetry.counters import Counters
from sentiment_conv1d.service.telemetry.histogram import Histogram

#: Nanoseconds, from a stage of the shortest text to the default request timeout.
STAGE_BOUNDS = tuple(
    int(microseconds * 1e3)
    for microseconds in (5, 10, 25, 50, 100, 250, 500, 1e3, 2.5e3, 5e3, 1e4, 2.5e4, 5e4, 1e5, 2.5e5, 1e6, 5e6, 3e7)
)

#: Texts of a batch.
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

#: Probability of the predicted label.
SCORE_BOUNDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)

#: Labels whose scores are counted apart; those of further ones are not.
MAX_LABELS = 16

STAGES = ("decode", "queue", "tokenize", "infer", "encode")


class Statistics:
    """The counts of one version of a model, in `SLOTS` slots from `first` on. Times are in nanoseconds."""

    _NAMES = (
        *("texts", "tokens", "unknown_tokens", "truncated_texts"),
        *("runs", "last_inference", "successes", "success_time", "failures", "failure_time", "output_time", "running"),
    )
    COUNTS = _NAMES[:4]
    _STAGE_SLOTS, _BATCH_SLOTS, _SCORE_SLOTS = map(Histogram.slots, (STAGE_BOUNDS, BATCH_BOUNDS, SCORE_BOUNDS))
    SLOTS = len(_NAMES) + len(STAGES) * _STAGE_SLOTS + _BATCH_SLOTS + MAX_LABELS * _SCORE_SLOTS

    def __init__(self, labels: Sequence[str], counters: Counters | None = None, first: int = 0) -> None:
        self._counters = counters or Counters(1, self.SLOTS)
        self._first = first
        slot = first + len(self._NAMES)
        self.stages: dict[str, Histogram] = {}
        for stage in STAGES:
            self.stages[stage] = Histogram(self._counters, slot, STAGE_BOUNDS)
            slot += self._STAGE_SLOTS
        self._queue, self._tokenize, self._infer = (self.stages[name] for name in ("queue", "tokenize", "infer"))
        self.batches = Histogram(self._counters, slot, BATCH_BOUNDS)
        slot += self._BATCH_SLOTS
        self.scores: dict[str, Histogram] = {}
        for label in labels[:MAX_LABELS]:
            self.scores[label] = Histogram(self._counters, slot, SCORE_BOUNDS)
            slot += self._SCORE_SLOTS

    def __getitem__(self, name: str) -> int:
        """A count by its name, summed over the workers; `last_inference` is the latest, in milliseconds since 1970."""
        slot = self.slot(name)
        return self._counters.largest(slot) if name == "last_inference" else self._counters.total(slot)

    def slot(self, name: str) -> int:
        """Where a count lies."""
        return self._first + self._NAMES.index(name)

    def stage_time(self, stage: str) -> int:
        """Nanoseconds of a stage, summed over requests and workers."""
        return int(self.stages[stage].sum)

    def began(self) -> None:
        """A request uses the model from now on."""
        self._counters.row[self._first + 11] += 1

    def ended(self) -> None:
        """A request that has begun is done with it, however it ended."""
        self._counters.row[self._first + 11] -= 1

    def ran(self, texts: int, runs: int) -> None:
        """A batch of so many texts, of one request or of several, took so many runs of the graph."""
        self._counters.row[self._first + 4] += runs
        self.batches.observe(texts)

    def succeeded(self, *, whole: int, queue: int, tokenize: int, infer: int) -> None:
        """A request was answered."""
        row, first = self._counters.row, self._first
        row[first + 5] = int(time() * 1000)
        row[first + 6] += 1
        row[first + 7] += whole
        row[first + 10] += max(0, whole - queue - tokenize - infer)
        self._queue.observe(queue)
        self._tokenize.observe(tokenize)
        self._infer.observe(infer)

    def answered(self, predictions: Sequence[Prediction]) -> None:
        """Texts of one request were answered."""
        tokens = unknown_tokens = truncated = 0
        for label, score, _, read, unknown, cut in predictions:
            tokens += read
            unknown_tokens += unknown
            truncated += cut
            if (scores := self.scores.get(label)) is not None:
                scores.observe(float(score))
        row, first = self._counters.row, self._first
        row[first] += len(predictions)
        row[first + 1] += tokens
        row[first + 2] += unknown_tokens
        row[first + 3] += truncated

    def failed(self, whole: int) -> None:
        """A request for this model was refused or failed after that many nanoseconds."""
        row, first = self._counters.row, self._first
        row[first + 8] += 1
        row[first + 9] += whole
