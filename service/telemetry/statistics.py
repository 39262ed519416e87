"""The statistics of one version of a model, counted by all workers together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time
from typing import NamedTuple

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.server.process.counters import Counters
from sentiment_conv1d.service.telemetry.layout import Layout, Metric, Values

#: The labels of every metric of a version, and their values: a name and a version.
MODEL = ("model", "version")
Key = tuple[str, int]

#: The most labels whose scores have a histogram.
MAX_LABELS = 16

#: Counts by their names in `Statistics`. Those without a help text are not exposed.
_COUNTS = {
    "texts": Metric("sentiment_texts_total", "counter", "Texts answered.", MODEL),
    "tokens": Metric("sentiment_tokens_total", "counter", "Ids before truncation.", MODEL),
    "unknown_tokens": Metric("sentiment_unknown_tokens_total", "counter", "Ids of unknown words.", MODEL),
    "truncated_texts": Metric(
        "sentiment_truncated_texts_total", "counter", "Texts longer than the model reads.", MODEL
    ),
    "runs": Metric("runs", "counter"),
    "last_inference": Metric("last_inference", "counter"),
    "success_time": Metric("success_time", "counter"),
    "failures": Metric("failures", "counter"),
    "failure_time": Metric("failure_time", "counter"),
    "running": Metric("running", "gauge"),
}

_STAGES = Metric(
    "sentiment_stage_seconds",
    "histogram",
    "A request's time in each stage.",
    (*MODEL, "stage"),
    # In nanoseconds, from a stage of the shortest text up to the default request timeout.
    tuple(int(microseconds * 1e3) for microseconds in (10, 50, 250, 1e3, 2.5e3, 1e4, 5e4, 2.5e5, 1e6, 3e7)),
    unit=1e-9,
)

_BATCHES = Metric(
    "sentiment_batch_texts",
    "histogram",
    "Texts that ran together.",
    MODEL,
    (1, 2, 4, 8, 16, 32, 128, 1024),
)

_SCORES = Metric(
    "sentiment_score",
    "histogram",
    "Probability of each predicted label.",
    (*MODEL, "label"),
    (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
)


#: The stages between the texts of a request and its predictions. Before and after them are `decode` and `encode`.
_RUN_STAGES = ("queue", "tokenize", "infer")


class BatchTimes(NamedTuple):
    """When a batch left the queue, a time of `perf_counter_ns`, and the nanoseconds of tokenization and inference."""

    started: int
    tokenize: int
    infer: int


class Statistics:
    """The statistics of one version of a model. Times are in nanoseconds.

    `labels` are the model's labels. Without `counters`, the counts are those of this process only. `requests` are the
    slots of the requests, which `Metrics` counts.
    """

    def __init__(
        self,
        labels: Sequence[str],
        counters: Counters | None = None,
        layout: Layout | None = None,
        requests: Mapping[Values, int] | None = None,
    ) -> None:
        layout = self.layout = layout or Layout(model="", version="")
        self.requests = requests or {}
        self._slots = {name: layout.number(metric) for name, metric in _COUNTS.items()}
        self._stages = {stage: layout.histogram(_STAGES, stage) for stage in ("decode", *_RUN_STAGES, "encode")}
        self._slots |= {stage: histogram.sum_slot for stage, histogram in self._stages.items()}
        self._queue, self._tokenize, self._infer = (self._stages[stage] for stage in _RUN_STAGES)
        self._batches = layout.histogram(_BATCHES)
        self._scores = {label: layout.histogram(_SCORES, label) for label in labels[:MAX_LABELS]}
        self._counters = counters or Counters(1, layout.end)
        self._labels = labels

    def __getitem__(self, name: str) -> int:
        """Return a count, or the nanoseconds of a stage, summed over the workers.

        `last_inference` is the latest, in milliseconds since 1970.
        """
        counts = self._counters.table[:, self._slots[name]]
        return int(counts.max() if name == "last_inference" else counts.sum())

    @property
    def successes(self) -> int:
        """Return the number of answered requests."""
        return int(self._counters.table[:, self._queue.cells].sum())

    def detach(self, requests: Mapping[Values, int]) -> None:
        """Count in memory of this process from now on, because another version uses the slots."""
        self._counters = Counters(1, self.layout.end)
        self.requests = requests

    def began(self) -> None:
        """Count the start of a request that uses the model."""
        self._counters.row[self._slots["running"]] += 1

    def ended(self, requests: int = 1) -> None:
        """Count the end of requests that use the model."""
        self._counters.row[self._slots["running"]] -= requests

    def ran(self, texts: int, runs: int) -> None:
        """Count a batch: its texts and its runs of the graph."""
        row = self._counters.row
        row[self._slots["runs"]] += runs
        self._batches.observe(row, texts)

    def count(
        self, predictions: Sequence[Prediction], arrivals: Sequence[int], times: BatchTimes, predicted: int
    ) -> None:
        """Count the answered requests of a batch.

        `arrivals` are when the texts of each request had been decoded, and `predicted` is when the predictions were
        complete.
        """
        row, slots, scores = self._counters.row, self._slots, self._scores
        tokens = unknown_tokens = truncated = 0
        for prediction in predictions:
            tokens += prediction.tokens
            unknown_tokens += prediction.unknown_tokens or 0
            truncated += prediction.truncated
            for label, score in prediction.predicted(self._labels):
                if (histogram := scores.get(label)) is not None:
                    histogram.observe(row, float(score))
        for arrived in arrivals:
            self._queue.observe(row, times.started - arrived)
        self._tokenize.observe(row, times.tokenize, len(arrivals))
        self._infer.observe(row, times.infer, len(arrivals))
        row[slots["texts"]] += len(predictions)
        row[slots["tokens"]] += tokens
        row[slots["unknown_tokens"]] += unknown_tokens
        row[slots["truncated_texts"]] += truncated
        row[slots["success_time"]] += predicted * len(arrivals) - sum(arrivals)
        row[slots["last_inference"]] = int(time() * 1000)

    def transferred(self, decode: int, encode: int) -> None:
        """Count the nanoseconds of reading a request and writing its answer."""
        row = self._counters.row
        self._stages["decode"].observe(row, decode)
        self._stages["encode"].observe(row, encode)

    def failed(self, whole: int) -> None:
        """Count a request that was rejected or failed, and its duration in nanoseconds."""
        row = self._counters.row
        row[self._slots["failures"]] += 1
        row[self._slots["failure_time"]] += whole
