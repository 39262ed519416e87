"""What the service counts, in Prometheus' terms, in all workers together. Every series exists from the start."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from model.artifact import Manifest
from service.classifier import Classifier, Prediction
from service.counters import Counters, Directory
from service.errors import GRPC_STATUS, HTTP_STATUS
from service.statistics import Statistics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: From a tenth of the shortest request to the default request timeout, in seconds.
_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

#: Slots of a histogram: its buckets, the last one without a bound, and the sum.
_HISTOGRAM_SLOTS = len(_BOUNDS) + 2

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

#: Versions of models that can be counted between two starts of the service.
MAX_MODELS = 64
_MODEL_SLOTS = len(_COUNTS) + Statistics.SLOTS


class TooManyModels(Exception):
    """More versions were loaded since the start than can be counted."""


class Metrics(Collector):
    """The counters of all workers.

    `routes` are the route labels there are, by protocol (`rest` or `grpc`); callers who try paths must not make series
    without end. Made before the workers are forked, each of which says who it is with `use`.
    """

    def __init__(self, routes: Mapping[str, Iterable[str]], models: Iterable[Manifest] = (), workers: int = 1) -> None:
        self._requests: dict[tuple[str, str, str], int] = {}
        self._seconds: dict[tuple[str, str], int] = {}
        slots = 0
        for protocol, names in routes.items():
            for route in names:
                self._seconds[protocol, route] = slots
                slots += _HISTOGRAM_SLOTS
                for status in (*_STATUSES[protocol], _OTHER):
                    self._requests[protocol, route, status] = slots
                    slots += 1
        self._first_model = slots
        self._directory = Directory(MAX_MODELS)
        self._models: dict[tuple[str, int], int] = {}
        self._loaded: set[tuple[str, int]] = set()
        self._counters = Counters(workers, slots + MAX_MODELS * _MODEL_SLOTS)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        for manifest in models:
            self.add_model(manifest)

    def use(self, worker: int) -> None:
        """Count as that worker from now on."""
        self._counters.use(worker)

    def add_model(self, manifest: Manifest) -> Statistics:
        """Make the series of a version that is served from now on; returns its statistics.

        Raises `TooManyModels`.
        """
        key = (manifest.name, manifest.version)
        try:
            self._models[key] = self._slot(self._directory.index(f"{manifest.name}/{manifest.version}"))
        except IndexError:
            raise TooManyModels(f"{MAX_MODELS} versions were loaded since the start: restart the service") from None
        self.remove_model(manifest.name)
        self._loaded.add(key)
        return Statistics(self._counters, self._models[key] + len(_COUNTS))

    def remove_model(self, name: str) -> None:
        """A model that is served no more keeps its counts, but is not shown as loaded."""
        self._loaded = {other for other in self._loaded if other[0] != name}

    def request(self, protocol: str, route: str, status: str, seconds: float) -> None:
        """Count one answered request."""
        row = self._counters.row
        slot = self._requests.get((protocol, route, status))
        row[self._requests[protocol, route, _OTHER] if slot is None else slot] += 1
        first = self._seconds[protocol, route]
        row[first + bisect_left(_BOUNDS, seconds)] += 1
        row[first + _HISTOGRAM_SLOTS - 1] += seconds

    def predictions(self, classifier: Classifier, predictions: Sequence[Prediction]) -> None:
        """Count the texts of one answer."""
        row = self._counters.row
        slot = self._models[classifier.manifest.name, classifier.manifest.version]
        row[slot] += len(predictions)
        for prediction in predictions:
            row[slot + 1] += prediction.tokens
            row[slot + 2] += prediction.unknown_tokens
            row[slot + 3] += prediction.truncated

    def expose(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """All series, summed over the workers."""
        totals = self._counters.totals()
        requests = CounterMetricFamily(
            "sentiment_requests", "Requests answered.", labels=("protocol", "route", "status")
        )
        for labels, slot in self._requests.items():
            # The status that nobody foresaw is the one series that shows up only when there is something to show.
            if labels[2] != _OTHER or totals[slot]:
                requests.add_metric(labels, totals[slot])
        yield requests

        seconds = HistogramMetricFamily(
            "sentiment_request_seconds",
            "From the head of the request to the last byte of the answer handed over.",
            labels=("protocol", "route"),
        )
        for route, slot in self._seconds.items():
            cumulated = totals[slot : slot + _HISTOGRAM_SLOTS - 1].cumsum()
            buckets = list(zip([*map(str, map(float, _BOUNDS)), "+Inf"], cumulated.tolist(), strict=True))
            seconds.add_metric(route, buckets, totals[slot + _HISTOGRAM_SLOTS - 1])
        yield seconds

        for number, (name, help) in enumerate(_COUNTS.items()):
            counts = CounterMetricFamily(f"sentiment_{name}", help, labels=("model",))
            sums: dict[str, float] = {}
            for index, key in enumerate(self._directory):
                model = key.partition("/")[0]
                sums[model] = sums.get(model, 0) + totals[self._slot(index) + number]
            for model, total in sums.items():
                counts.add_metric((model,), total)
            yield counts

        loaded = GaugeMetricFamily("sentiment_model_info", "A loaded model.", labels=("model", "version"))
        for model, version in sorted(self._loaded):
            loaded.add_metric((model, str(version)), 1)
        yield loaded

    def _slot(self, index: int) -> int:
        return self._first_model + index * _MODEL_SLOTS
