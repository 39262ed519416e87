"""What the service counts, in Prometheus' terms. Every series exists before the first request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from model.artifact import Manifest
from service.classifier import Prediction
from service.errors import GRPC_STATUS, HTTP_STATUS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: From a tenth of the shortest request to the default request timeout, in seconds.
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_COUNTS = {
    "texts": "Texts answered.",
    "tokens": "Ids before truncation.",
    "unknown_tokens": "Ids of unknown words.",
    "truncated_texts": "Texts longer than the model reads.",
}

#: Statuses whose series exist from the start, by protocol.
_STATUSES = {
    "rest": sorted({"200", *(str(status.value) for status in HTTP_STATUS.values())}),
    "grpc": sorted({"OK", "CANCELLED", *GRPC_STATUS.values()}),
}

# A time of creation beside every counter would double the answer and nobody asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The counters of one process.

    `routes` are the route labels there are, by protocol (`rest` or `grpc`); callers who try paths must not make series
    without end.
    """

    def __init__(self, routes: Mapping[str, Iterable[str]], models: Iterable[Manifest] = ()) -> None:
        self._registry = CollectorRegistry()
        self._all_requests = self._counter("sentiment_requests", "Requests answered.", ("protocol", "route", "status"))
        seconds = Histogram(
            "sentiment_request_seconds",
            "From the head of the request to the last byte of the answer handed over.",
            ("protocol", "route"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        # Children are looked up once: the look-up by labels costs more than the counting.
        self._requests: dict[tuple[str, str, str], Counter] = {}
        self._seconds: dict[tuple[str, str], Histogram] = {}
        for protocol, names in routes.items():
            for route in names:
                self._seconds[protocol, route] = seconds.labels(protocol, route)
                for status in _STATUSES[protocol]:
                    self._requests[protocol, route, status] = self._all_requests.labels(protocol, route, status)
        self._counters = [self._counter(f"sentiment_{name}", help, ("model",)) for name, help in _COUNTS.items()]
        self._counts: dict[str, list[Counter]] = {}
        self._information = Gauge(
            "sentiment_model_info", "A loaded model.", ("model", "version"), registry=self._registry
        )
        for manifest in models:
            self.add_model(manifest)

    def add_model(self, manifest: Manifest) -> None:
        """Make the series of a model that is served from now on."""
        self._counts[manifest.name] = [counter.labels(manifest.name) for counter in self._counters]
        self._information.labels(manifest.name, str(manifest.version)).set(1)

    def request(self, protocol: str, route: str, status: str, seconds: float) -> None:
        """Count one answered request."""
        child = self._requests.get((protocol, route, status))
        if child is None:
            child = self._requests[protocol, route, status] = self._all_requests.labels(protocol, route, status)
        child.inc()
        self._seconds[protocol, route].observe(seconds)

    def predictions(self, model: str, predictions: Sequence[Prediction]) -> None:
        """Count the texts of one answer."""
        texts, tokens, unknown, truncated = self._counts[model]
        texts.inc(len(predictions))
        tokens.inc(sum(prediction.tokens for prediction in predictions))
        unknown.inc(sum(prediction.unknown_tokens for prediction in predictions))
        truncated.inc(sum(prediction.truncated for prediction in predictions))

    def expose(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, help: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, help, labels, registry=self._registry)
