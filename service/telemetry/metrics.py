"""What the service counts, in Prometheus' terms, in all workers together. Every series exists from the start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import perf_counter_ns
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import orjson

from sentiment_conv1d.model.artifact import Manifest
from sentiment_conv1d.service.errors import GRPC_STATUS, HTTP_STATUS, StartupError
from sentiment_conv1d.service.models.repository import State
from sentiment_conv1d.service.telemetry.counters import Counters, Directory
from sentiment_conv1d.service.telemetry.exposition import Exposition, Layout
from sentiment_conv1d.service.telemetry.histogram import Histogram
from sentiment_conv1d.service.telemetry.processes import Processes
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.service.telemetry.statistics import MAX_LABELS, Statistics

#: From a tenth of the shortest request to the default request timeout, in seconds.
_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_COUNTS = {
    "texts": "Texts answered.",
    "tokens": "Ids before truncation.",
    "unknown_tokens": "Ids of unknown words.",
    "truncated_texts": "Texts longer than the model reads.",
}

#: Statuses whose series exist from the start, by protocol. Any other is counted under `other`, the one series that
#: shows up only when there is something to show.
_OTHER = "other"
_STATUSES = {
    "rest": sorted({"200", "499", *(str(status.value) for status in HTTP_STATUS.values())}),
    "grpc": sorted({"OK", "CANCELLED", *GRPC_STATUS.values()}),
}

#: Versions that are counted at once, and those of them that are served no more: each is hundreds of series.
MAX_MODELS = 64
MAX_PAST_MODELS = 8

_NANOSECONDS = 1e-9

#: Labels that go together.
_ROUTE = ("protocol", "route")
_MODEL = ("model", "version")

#: What became of a version that was to be loaded, and what was wrong with a worker that was replaced.
Outcome = Literal["loaded", "refused"]
Reason = Literal["died", "hung"]

#: Why a connection was closed that could have been served: the listener was full, one address had too many, or it was
#: idle and made room for another.
Rejection = Literal["limit", "address", "evicted"]

_Slots = npt.NDArray[np.int64]


class TooManyModels(StartupError):
    """More versions are served than can be counted."""


class _Known(NamedTuple):
    """A version, what it has counted, and where its slots begin."""

    version: tuple[str, str]
    statistics: Statistics
    first: int


class _Contents(NamedTuple):
    """What the series are made of; the same contents have the same text but for the numbers."""

    directory: tuple[str, ...]
    states: tuple[State, ...]
    unforeseen: frozenset[int]  # slots of the unforeseen statuses that were seen


class Metrics:
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
        self._requests_waiting, self._texts_waiting = range(slots, slots + 2)
        self._loads = {outcome: slots + 2 + number for number, outcome in enumerate(get_args(Outcome))}
        self._replaced = {reason: slots + 4 + number for number, reason in enumerate(get_args(Reason))}
        rejections = [(protocol, reason) for protocol in routes for reason in get_args(Rejection)]
        self._rejected = {key: slots + 6 + number for number, key in enumerate(rejections)}
        self._first_model = slots + 6 + len(rejections)
        self._model_slots = len(self._of_model) + Statistics.SLOTS
        self._counters = Counters(workers, self._first_model + MAX_MODELS * self._model_slots)
        self._seconds = {
            key: Histogram(self._counters, first_seconds + number * Histogram.slots(_BOUNDS), _BOUNDS)
            for number, key in enumerate(seconds)
        }
        self._directory = Directory(MAX_MODELS, MAX_PAST_MODELS)
        self._models: dict[tuple[str, int], int] = {}  # where the slots of each version begin
        self.states: Callable[[], Iterable[State]] = tuple  # of what is served or refused
        self._processes = Processes()
        self._contents: _Contents | None = None
        for manifest in models:
            self.add_model(manifest)

    def use(self, worker: int) -> None:
        """Count as that worker from now on, with nothing left in flight of one that died in its place."""
        self._counters.use(worker)
        running = (known.statistics.slot("running") for known in self._known(self._directory))
        for slot in (*self._in_flight.values(), self._requests_waiting, self._texts_waiting, *running):
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

    def loaded(self, outcome: Outcome) -> None:
        """A version was loaded while the service runs, or refused."""
        self._counters.row[self._loads[outcome]] += 1

    def replaced(self, reason: Reason) -> None:
        """A worker was replaced."""
        self._counters.row[self._replaced[reason]] += 1

    def rejected(self, protocol: str, reason: str) -> None:
        """A connection was rejected, or evicted to make room for another; `reason` is a `Rejection`."""
        self._counters.row[self._rejected[protocol, reason]] += 1

    def began(self, protocol: str) -> None:
        """A request is being answered."""
        self._counters.row[self._in_flight[protocol]] += 1

    def ended(self, protocol: str, route: str, status: str, seconds: float, context: RequestContext) -> None:
        """A request was answered."""
        row = self._counters.row
        row[self._in_flight[protocol]] -= 1
        key = (protocol, route, status if (protocol, route, status) in self._modelless else _OTHER)
        self._seconds[protocol, route].observe(seconds)
        classifier = context.classifier
        if classifier is None or key not in self._of_model:
            row[self._modelless[key]] += 1
            return
        manifest = classifier.manifest
        first = self._models.get((manifest.name, manifest.version))
        if first is None:  # so long ago that its place was taken
            row[self._modelless[key]] += 1
            return
        row[first + self._of_model[key]] += 1
        if context.received and context.predicted:
            stages = classifier.statistics.stages
            stages["decode"].observe(context.decoded - context.received)
            stages["encode"].observe(perf_counter_ns() - context.predicted)

    def in_use(self) -> set[tuple[str, int]]:
        """Names and versions of the models that requests use in any worker, whether or not they are served to more."""
        return {
            (name, int(version))
            for (name, version), statistics, _ in self._known(self._directory)
            if statistics["running"] > 0
        }

    def waiting(self, requests: int, texts: int) -> None:
        """So many requests more than before, and texts of theirs, wait or run; or less, below 0."""
        row = self._counters.row
        row[self._requests_waiting] += requests
        row[self._texts_waiting] += texts

    def expose(self) -> bytes:
        """All series in Prometheus' text format, summed over the workers."""
        totals = self._counters.totals()
        directory = tuple(self._directory)
        unforeseen = self._unforeseen(len(directory))
        seen = frozenset(unforeseen[totals[unforeseen] > 0].tolist())
        contents = _Contents(directory, tuple(self.states()), seen)
        if contents != self._contents:
            self._exposition = self._lay_out(contents)
            self._contents = contents
        return self._exposition.fill_in(totals) + self._processes.expose()

    def _unforeseen(self, models: int) -> _Slots:
        """The slots of the unforeseen statuses, of requests without a model and of so many versions."""
        modelless = [slot for (_, _, status), slot in self._modelless.items() if status == _OTHER]
        of_model = [offset for (_, _, status), offset in self._of_model.items() if status == _OTHER]
        firsts = range(self._first_model, self._first_of(models), self._model_slots)
        return np.array([*modelless, *(first + offset for first in firsts for offset in of_model)], np.int64)

    def _lay_out(self, contents: _Contents) -> Exposition:
        layout = Layout()
        known = list(self._known(contents.directory))
        layout.family("sentiment_requests_total", "counter", "Requests answered.", (*_ROUTE, *_MODEL, "status"))
        for (protocol, route, status), slot in self._modelless.items():
            if status != _OTHER or slot in contents.unforeseen:
                layout.add((protocol, route, "", "", status), slot)
        for version, _, first in known:
            for (protocol, route, status), offset in self._of_model.items():
                if status != _OTHER or first + offset in contents.unforeseen:
                    layout.add((protocol, route, *version, status), first + offset)
        layout.family(
            "sentiment_request_seconds",
            "histogram",
            "From the head of the request to the last byte of the answer handed over.",
            _ROUTE,
        )
        for key, histogram in self._seconds.items():
            layout.add_histogram(key, histogram)
        layout.family("sentiment_requests_in_flight", "gauge", "Requests that are being answered.", ("protocol",))
        for protocol, slot in self._in_flight.items():
            layout.add((protocol,), slot)
        layout.family(
            "sentiment_connections_rejected_total",
            "counter",
            "Connections rejected, or evicted.",
            ("protocol", "reason"),
        )
        for key, slot in self._rejected.items():
            layout.add(key, slot)
        layout.family("sentiment_requests_waiting", "gauge", "Requests that wait for a run or run.")
        layout.add((), self._requests_waiting)
        layout.family("sentiment_texts_waiting", "gauge", "Texts of these requests.")
        layout.add((), self._texts_waiting)
        layout.family(
            "sentiment_model_loads_total",
            "counter",
            "Versions loaded, or refused, while the service ran.",
            ("outcome",),
        )
        for outcome, slot in self._loads.items():
            layout.add((outcome,), slot)
        layout.family("sentiment_workers_replaced_total", "counter", "Workers that died, or hung.", ("reason",))
        for reason, slot in self._replaced.items():
            layout.add((reason,), slot)
        _lay_out_models(layout, known)
        _lay_out_states(layout, contents.states)
        return layout.done()

    def _known(self, directory: Iterable[str]) -> Iterator[_Known]:
        """The versions that any worker has loaded since the start."""
        for index, entry in enumerate(directory):
            name, version, labels = orjson.loads(entry)
            yield _Known((name, str(version)), self._statistics_of(index, labels), self._first_of(index))

    def _first_of(self, index: int) -> int:
        return self._first_model + index * self._model_slots

    def _statistics_of(self, index: int, labels: Sequence[str]) -> Statistics:
        return Statistics(labels, self._counters, self._first_of(index) + len(self._of_model))


def _lay_out_models(layout: Layout, known: Sequence[_Known]) -> None:
    for name, meaning in _COUNTS.items():
        layout.family(f"sentiment_{name}_total", "counter", meaning, _MODEL)
        for version, statistics, _ in known:
            layout.add(version, statistics.slot(name))
    layout.family("sentiment_stage_seconds", "histogram", "A request's time in each stage.", (*_MODEL, "stage"))
    for version, statistics, _ in known:
        for stage, histogram in statistics.stages.items():
            layout.add_histogram((*version, stage), histogram, _NANOSECONDS)
    layout.family("sentiment_batch_texts", "histogram", "Texts that ran together.", _MODEL)
    for version, statistics, _ in known:
        layout.add_histogram(version, statistics.batches)
    layout.family("sentiment_score", "histogram", "Probability of the predicted label.", (*_MODEL, "label"))
    for version, statistics, _ in known:
        for label, histogram in statistics.scores.items():
            layout.add_histogram((*version, label), histogram)


def _lay_out_states(layout: Layout, states: Iterable[State]) -> None:
    layout.family("sentiment_model_info", "gauge", "A version that is served.", _MODEL)
    for each in states:
        if each.served:
            layout.add_one((each.name, str(each.version)))
    layout.family(
        "sentiment_model_state",
        "gauge",
        "1 for a version that is ready, and for one that was refused.",
        (*_MODEL, "state", "reason"),
    )
    for each in states:
        if each.served:
            layout.add_one((each.name, str(each.version), "ready", ""))
        if each.refusal is not None:
            layout.add_one((each.name, str(each.version), "refused", each.refusal.fault))
