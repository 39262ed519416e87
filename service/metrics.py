"""What the service counts, in Prometheus' terms, in all workers together. Every series exists from the start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import perf_counter_ns

import numpy as np
import numpy.typing as npt
import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from model.artifact import Manifest
from service.counters import Counters, Directory
from service.errors import GRPC_STATUS, HTTP_STATUS, StartupError
from service.histogram import Histogram
from service.processes import Processes
from service.record import Record
from service.repository import State
from service.statistics import MAX_LABELS, Statistics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: From a tenth of the shortest request to the default request timeout, in seconds.
_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_COUNTS = {
    "texts": "Texts answered.",
    "tokens": "Ids before truncation.",
    "unknown_tokens": "Ids of unknown words.",
    "truncated_texts": "Texts longer than the model reads.",
}

#: Statuses whose series exist from the start, by protocol. Any other is counted under `other`.
_OTHER = "other"
_STATUSES = {
    "rest": sorted({"200", "499", *(str(status.value) for status in HTTP_STATUS.values())}),
    "grpc": sorted({"OK", "CANCELLED", *GRPC_STATUS.values()}),
}

#: Versions that are counted at once, and those of them that are served no more: each is hundreds of series.
MAX_MODELS = 64
MAX_PAST_MODELS = 8

_NANOSECONDS = 1e-9

_Totals = npt.NDArray[np.float64]


class TooManyModels(StartupError):
    """More versions are served than can be counted."""


class Metrics(Collector):
    """The counters of all workers.

    `routes` are the route labels there are, by protocol (`rest` or `grpc`), and whether each asks a model; callers who
    try paths must not make series without end. Made before the workers are forked, each of which says who it is with
    `use`.
    """

    def __init__(
        self, routes: Mapping[str, Mapping[str, bool]], models: Iterable[Manifest] = (), workers: int = 1
    ) -> None:
        self._modelless: dict[tuple[str, str, str], int] = {}
        self._of_model: dict[tuple[str, str, str], int] = {}  # within the slots of a model
        slots = 0
        for protocol, names in routes.items():
            for route, asks_model in names.items():
                for status in (*_STATUSES[protocol], _OTHER):
                    self._modelless[protocol, route, status] = slots
                    slots += 1
                    if asks_model:
                        self._of_model[protocol, route, status] = len(self._of_model)
        seconds = [(protocol, route) for protocol, names in routes.items() for route in names]
        first_seconds = slots
        slots += len(seconds) * Histogram.slots(_BOUNDS)
        self._in_flight = {protocol: slots + number for number, protocol in enumerate(routes)}
        slots += len(self._in_flight)
        self._requests_waiting, self._texts_waiting, self._loads, self._failed_loads = range(slots, slots + 4)
        self._first_model = slots + 4
        self._model_slots = len(self._of_model) + Statistics.SLOTS
        self._counters = Counters(workers, self._first_model + MAX_MODELS * self._model_slots)
        self._seconds = {
            key: Histogram(self._counters, first_seconds + number * Histogram.slots(_BOUNDS), _BOUNDS)
            for number, key in enumerate(seconds)
        }
        self._directory = Directory(MAX_MODELS, MAX_PAST_MODELS)
        self._models: dict[tuple[str, int], int] = {}  # where the slots of each version begin
        self.states: Callable[[], Iterable[State]] = tuple  # of what is served or refused
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._registry.register(Processes())
        for manifest in models:
            self.add_model(manifest)

    def use(self, worker: int) -> None:
        """Count as that worker from now on, with nothing left in flight of one that died in its place."""
        self._counters.use(worker)
        for slot in (*self._in_flight.values(), self._requests_waiting, self._texts_waiting):
            self._counters.row[slot] = 0

    def add_model(self, manifest: Manifest) -> Statistics:
        """Make the series of a version that is about to be served; returns its statistics.

        Raises `TooManyModels`.
        """
        key = (manifest.name, manifest.version)
        labels = manifest.labels[:MAX_LABELS]
        served = {(each.name, each.version) for each in self.states() if each.served}
        try:
            index = self._directory.index(
                orjson.dumps([*key, labels]).decode(),
                free=lambda entry: tuple(orjson.loads(entry)[:2]) not in served,
                clear=lambda index: self._counters.clear(self._first_of(index), self._model_slots),
            )
        except IndexError:
            raise TooManyModels(
                f"{MAX_MODELS} versions are served at once, or the labels are too long to be counted"
            ) from None
        first = self._first_of(index)
        self._models = {other: slot for other, slot in self._models.items() if slot != first} | {key: first}
        return self._statistics_of(index, labels)

    def loaded(self, *, failed: bool) -> None:
        """A version was loaded while the service runs, or refused."""
        self._counters.row[self._failed_loads if failed else self._loads] += 1

    def began(self, protocol: str) -> None:
        """A request is being answered."""
        self._counters.row[self._in_flight[protocol]] += 1

    def ended(self, protocol: str, route: str, status: str, seconds: float, record: Record) -> None:
        """A request was answered."""
        row = self._counters.row
        row[self._in_flight[protocol]] -= 1
        key = (protocol, route, status if (protocol, route, status) in self._modelless else _OTHER)
        self._seconds[protocol, route].observe(seconds)
        classifier = record.classifier
        if classifier is None or key not in self._of_model:
            row[self._modelless[key]] += 1
            return
        manifest = classifier.manifest
        first = self._models.get((manifest.name, manifest.version))
        if first is None:  # so long ago that its place was taken
            row[self._modelless[key]] += 1
            return
        row[first + self._of_model[key]] += 1
        if record.received and record.predicted:
            stages = classifier.statistics.stages
            stages["decode"].observe(record.decoded - record.received)
            stages["encode"].observe(perf_counter_ns() - record.predicted)

    def in_flight(self, protocol: str) -> int:
        """Requests that this worker is answering."""
        return int(self._counters.row[self._in_flight[protocol]])

    def waiting(self, requests: int, texts: int) -> None:
        """So many requests more than before, and texts of theirs, wait or run; or less, below 0."""
        row = self._counters.row
        row[self._requests_waiting] += requests
        row[self._texts_waiting] += texts

    def expose(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """All series, summed over the workers."""
        totals = self._counters.totals()
        yield self._collect_requests(totals)
        seconds = HistogramMetricFamily(
            "sentiment_request_seconds",
            "From the head of the request to the last byte of the answer handed over.",
            labels=("protocol", "route"),
        )
        for key, histogram in self._seconds.items():
            seconds.add_metric(key, *histogram.exposition(totals))
        yield seconds
        in_flight = GaugeMetricFamily(
            "sentiment_requests_in_flight", "Requests that are being answered.", labels=("protocol",)
        )
        for protocol, slot in self._in_flight.items():
            in_flight.add_metric((protocol,), totals[slot])
        yield in_flight
        yield GaugeMetricFamily(
            "sentiment_requests_waiting", "Requests that wait for a run or run.", totals[self._requests_waiting]
        )
        yield GaugeMetricFamily("sentiment_texts_waiting", "Texts of these requests.", totals[self._texts_waiting])
        loads = CounterMetricFamily(
            "sentiment_model_loads", "Versions loaded, or refused, while the service ran.", labels=("outcome",)
        )
        loads.add_metric(("loaded",), totals[self._loads])
        loads.add_metric(("refused",), totals[self._failed_loads])
        yield loads
        yield from self._collect_models(totals)

    def _collect_requests(self, totals: _Totals) -> Metric:
        requests = CounterMetricFamily(
            "sentiment_requests", "Requests answered.", labels=("protocol", "route", "model", "version", "status")
        )

        def add(key: tuple[str, str, str], model: str, version: str, slot: int) -> None:
            protocol, route, status = key
            # The status that nobody foresaw is the one series that shows up only when there is something to show.
            if status != _OTHER or totals[slot]:
                requests.add_metric((protocol, route, model, version, status), totals[slot])

        for key, slot in self._modelless.items():
            add(key, "", "", slot)
        for (name, version), _, first in self._known():
            for key, offset in self._of_model.items():
                add(key, name, version, first + offset)
        return requests

    def _collect_models(self, totals: _Totals) -> Iterator[Metric]:
        known = list(self._known())
        labels = ("model", "version")
        for name, help in _COUNTS.items():
            counts = CounterMetricFamily(f"sentiment_{name}", help, labels=labels)
            for version, statistics, _ in known:
                counts.add_metric(version, totals[statistics.slot(name)])
            yield counts
        stages = HistogramMetricFamily(
            "sentiment_stage_seconds", "A request's time in each stage.", labels=(*labels, "stage")
        )
        batches = HistogramMetricFamily("sentiment_batch_texts", "Texts that ran together.", labels=labels)
        scores = HistogramMetricFamily(
            "sentiment_score", "Probability of the predicted label.", labels=(*labels, "label")
        )
        for version, statistics, _ in known:
            for stage, histogram in statistics.stages.items():
                stages.add_metric((*version, stage), *histogram.exposition(totals, _NANOSECONDS))
            batches.add_metric(version, *statistics.batches.exposition(totals))
            for label, histogram in statistics.scores.items():
                scores.add_metric((*version, label), *histogram.exposition(totals))
        yield from (stages, batches, scores)
        info = GaugeMetricFamily("sentiment_model_info", "A version that is served.", labels=labels)
        state = GaugeMetricFamily(
            "sentiment_model_state",
            "1 for a version that is ready, and for one that was refused.",
            labels=(*labels, "state", "reason"),
        )
        for each in self.states():
            version = (each.name, str(each.version))
            if each.served:
                info.add_metric(version, 1)
                state.add_metric((*version, "ready", ""), 1)
            if each.refusal is not None:
                state.add_metric((*version, "refused", each.refusal.fault), 1)
        yield from (info, state)

    def _known(self) -> Iterator[tuple[tuple[str, str], Statistics, int]]:
        """The versions that any worker has loaded since the start, what they have counted, where their slots begin."""
        for index, entry in enumerate(self._directory):
            name, version, labels = orjson.loads(entry)
            yield (name, str(version)), self._statistics_of(index, labels), self._first_of(index)

    def _first_of(self, index: int) -> int:
        return self._first_model + index * self._model_slots

    def _statistics_of(self, index: int, labels: Sequence[str]) -> Statistics:
        return Statistics(labels, self._counters, self._first_of(index) + len(self._of_model))
