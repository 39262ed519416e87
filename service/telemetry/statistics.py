"""What is counted of one version of a model, in all workers together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import time
from typing import NamedTuple, Protocol, SupportsFloat, TypeAlias

from sentiment_conv1d.service.telemetry.counters import Counters
from sentiment_conv1d.service.telemetry.layout import Layout, Metric

#: Labels of every metric of a version.
MODEL = ("model", "version")

#: Labels whose scores are counted apart; those of further ones are not.
MAX_LABELS = 16

#: Counts by their names in `Statistics`. Those without a metric are for Triton's statistics alone.
_COUNTS: dict[str, Metric | None] = {
    "texts": Metric("sentiment_texts_total", "counter", "Texts answered.", MODEL),
    "tokens": Metric("sentiment_tokens_total", "counter", "Ids before truncation.", MODEL),
    "unknown_tokens": Metric("sentiment_unknown_tokens_total", "counter", "Ids of unknown words.", MODEL),
    "truncated_texts": Metric(
        "sentiment_truncated_texts_total", "counter", "Texts longer than the model reads.", MODEL
    ),
    "runs": None,
    "last_inference": None,
    "success_time": None,
    "failures": None,
    "failure_time": None,
    "running": None,
}

_STAGE_NAMES = ("decode", "queue", "tokenize", "infer", "encode")

_STAGES = Metric(
    "sentiment_stage_seconds",
    "histogram",
    "A request's time in each stage.",
    (*MODEL, "stage"),
    # Nanoseconds, from a stage of the shortest text to the default request timeout.
    tuple(
        int(microseconds * 1e3)
        for microseconds in (5, 10, 25, 50, 100, 250, 500, 1e3, 2.5e3, 5e3, 1e4, 2.5e4, 5e4, 1e5, 2.5e5, 1e6, 5e6, 3e7)
    ),
    unit=1e-9,
)

_BATCHES = Metric(
    "sentiment_batch_texts",
    "histogram",
    "Texts that ran together.",
    MODEL,
    (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)

_SCORES = Metric(
    "sentiment_score",
    "histogram",
    "Probability of the predicted label.",
    (*MODEL, "label"),
    (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0),
)


class Stages(NamedTuple):
    """How long a request waited, was tokenized and ran, in nanoseconds."""

    queue: int
    tokenize: int
    infer: int


class Answer(Protocol):
    """What is counted of the prediction for a text."""

    @property
    def label(self) -> str: ...

    @property
    def score(self) -> SupportsFloat: ...

    @property
    def tokens(self) -> int: ...

    @property
    def unknown_tokens(self) -> int: ...

    @property
    def truncated(self) -> bool: ...


#: The predictions of a request, the nanoseconds that it took, and how many of them were spent in stages.
Answered: TypeAlias = tuple[Sequence[Answer], int, Stages]


class Statistics:
    """The counts of one version of a model. Times are in nanoseconds.

    `labels` are those of the model. Without `counters` the counts are this process' own.
    """

    def __init__(self, labels: Sequence[str], counters: Counters | None = None, layout: Layout | None = None) -> None:
        layout = layout or Layout(model="", version="")
        self._slots = {
            name: layout.unexposed() if metric is None else layout.number(metric) for name, metric in _COUNTS.items()
        }
        self._stages = {stage: layout.histogram(_STAGES, stage) for stage in _STAGE_NAMES}
        self._queue, self._tokenize, self._infer = (self._stages[stage] for stage in Stages._fields)
        self._batches = layout.histogram(_BATCHES)
        self._scores = {label: layout.histogram(_SCORES, label) for label in labels[:MAX_LABELS]}
        self._counters = counters or Counters(1, layout.end)
        self._answered: list[Answered] = []  # in this turn of the event loop, and not counted yet

    def __getitem__(self, name: str) -> int:
        """A count by its name, summed over the workers; `last_inference` is the latest, in milliseconds since 1970."""
        slot = self._slots[name]
        return self._counters.largest(slot) if name == "last_inference" else self._counters.total(slot)

    @property
    def successes(self) -> int:
        """Requests answered."""
        return self._counters.total(self._queue.cells)

    @property
    def output_time(self) -> int:
        """Nanoseconds that answered requests spent outside of the stages."""
        stages = sum(map(self.stage_time, ("queue", "tokenize", "infer")))
        return max(0, self["success_time"] - stages)

    def stage_time(self, stage: str) -> int:
        """Nanoseconds of a stage, summed over requests and workers."""
        return self._counters.total(self._stages[stage].sum_slot)

    def began(self) -> None:
        """A request uses the model from now on."""
        self._counters.row[self._slots["running"]] += 1

    def ended(self) -> None:
        """A request that has begun is done with it, however it ended."""
        self._counters.row[self._slots["running"]] -= 1

    def reset_running(self) -> None:
        """Nothing runs in this worker, which takes the place of one that died."""
        self._counters.row[self._slots["running"]] = 0

    def ran(self, texts: int, runs: int) -> None:
        """A batch of so many texts, of one request or of several, took so many runs of the graph."""
        row = self._counters.row
        row[self._slots["runs"]] += runs
        self._batches.observe(row, texts)

    def count_soon(self, request: Answered) -> None:
        """Count a request in the next turn of the event loop, with the others of this one: its caller need not wait."""
        if not self._answered:
            asyncio.get_running_loop().call_soon(self._count_turn)
        self._answered.append(request)

    def _count_turn(self) -> None:
        answered, self._answered = self._answered, []
        self.count(answered)

    def count(self, requests: Sequence[Answered]) -> None:
        """Count requests that were answered."""
        row, slots, scores = self._counters.row, self._slots, self._scores
        texts = tokens = unknown_tokens = truncated = whole = 0
        for predictions, nanoseconds, (queue, tokenize, infer) in requests:
            for prediction in predictions:
                tokens += prediction.tokens
                unknown_tokens += prediction.unknown_tokens
                truncated += prediction.truncated
                if (histogram := scores.get(prediction.label)) is not None:
                    histogram.observe(row, float(prediction.score))
            texts += len(predictions)
            whole += nanoseconds
            self._queue.observe(row, queue)
            self._tokenize.observe(row, tokenize)
            self._infer.observe(row, infer)
        row[slots["texts"]] += texts
        row[slots["tokens"]] += tokens
        row[slots["unknown_tokens"]] += unknown_tokens
        row[slots["truncated_texts"]] += truncated
        row[slots["success_time"]] += whole
        row[slots["last_inference"]] = int(time() * 1000)

    def transferred(self, decode: int, encode: int) -> None:
        """A request was read, and its answer written, in so many nanoseconds."""
        row = self._counters.row
        self._stages["decode"].observe(row, decode)
        self._stages["encode"].observe(row, encode)

    def failed(self, whole: int) -> None:
        """A request for this model was refused or failed after that many nanoseconds."""
        row = self._counters.row
        row[self._slots["failures"]] += 1
        row[self._slots["failure_time"]] += whole
