"""The metrics of the service, counted by all workers together.

Every series exists from the start, except those of routes that nobody has used yet, and of rare statuses. A route has
all its usual series from its first request on.

To add a metric, declare it as a `Metric`, give its series slots in `Metrics.__init__` (or in `Statistics`, if every
version of a model has it), and count it. The exposition follows from the declaration.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum, auto
from itertools import product
from time import monotonic, perf_counter_ns
from typing import NamedTuple

import numpy as np
import onnxruntime

import sentiment_conv1d.service.errors  # noqa: F401 - declares kinds of `RequestError`
from sentiment_conv1d.artifact.limits import MAX_MODELS
from sentiment_conv1d.server.errors import Overloaded, RequestError
from sentiment_conv1d.server.network.shares import KEY
from sentiment_conv1d.server.process.counters import Counters
from sentiment_conv1d.service.telemetry.exposition import Exposition, compose
from sentiment_conv1d.service.telemetry.key_counts import KeyCounts
from sentiment_conv1d.service.telemetry.layout import Histogram, Layout, Metric, Values
from sentiment_conv1d.service.telemetry.processes import expose_processes, start_time
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.service.telemetry.statistics import MAX_LABELS, MODEL, Key, Statistics
from sentiment_conv1d.service.version import package_version
from sentiment_conv1d.service.version_labels import LabelledVersion

#: Counts the statuses that are not in `_STATUSES`.
_OTHER = "other"

_REQUESTS = Metric(
    "sentiment_requests_total",
    "counter",
    "Requests answered.",
    ("protocol", "route", *MODEL, "status"),
)
_PROTOCOL_REQUESTS = Metric(
    "sentiment_protocol_requests_total",
    "counter",
    "Requests answered by all routes together, without probes and scrapes.",
    ("protocol", "status"),
)
#: 1 for a route that has answered a request. It is not exposed.
_USED = Metric("used", "counter", labels=("protocol", "route"))
_SECONDS = Metric(
    "sentiment_request_seconds",
    "histogram",
    "From the head of the request to the last byte of the answer handed over.",
    ("protocol", "route"),
    # Up to the default request timeout. The alert for slow requests compares with 0.5.
    (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5, 30),
)
_IN_FLIGHT = Metric("sentiment_requests_in_flight", "gauge", "Requests that are being answered.", ("protocol",))
REJECTED = Metric(
    "sentiment_connections_rejected_total", "counter", "Connections rejected, or evicted.", ("protocol", "reason")
)
FAILED = Metric(
    "sentiment_connections_failed_total",
    "counter",
    "Connections that ended because the bytes received are malformed or exceed a limit.",
    ("protocol", "reason"),
)
_REQUESTS_WAITING = Metric("sentiment_requests_waiting", "gauge", "Requests that wait for a run or run.")
_TEXTS_WAITING = Metric("sentiment_texts_waiting", "gauge", "Texts of these requests.")
_READING_PAUSED = Metric(
    "sentiment_reading_paused_seconds_total",
    "counter",
    "Time in which workers read nothing, because refusals had taken their part of the time.",
)
LOADS = Metric(
    "sentiment_model_loads_total", "counter", "Versions loaded, or refused, while the service ran.", ("outcome",)
)
REPLACED = Metric("sentiment_workers_replaced_total", "counter", "Workers that died, or hung.", ("reason",))
STORE_FAILED = Metric(
    "sentiment_store_failures_total", "counter", "Updates of the copies of a model repository that failed.", ("reason",)
)
_STORE_SUCCESS = Metric(
    "sentiment_store_last_success_timestamp_seconds",
    "gauge",
    "When the model repository at a URL was last listed and copied, in Unix time.",
)
LOGGED = Metric(
    "sentiment_request_log_total", "counter", "Sampled requests, by whether they are in the request log.", ("outcome",)
)
_BUILD = Metric(
    "sentiment_build_info", "gauge", "1 for the version of the service.", ("version", "python", "onnxruntime")
)
_INFO = Metric("sentiment_model_info", "gauge", "A version that is served.", MODEL)
_STATE = Metric(
    "sentiment_model_state",
    "gauge",
    "1 for a version that is ready, and for one that was refused.",
    (*MODEL, "state", "reason"),
)
_EXPIRY = Metric(
    "sentiment_certificate_expiry_timestamp_seconds", "gauge", "When the TLS certificate expires, in Unix time."
)
_FILES_REFUSED = Metric(
    "sentiment_files_refused",
    "gauge",
    "Processes that refuse changed files and use their old contents.",
    ("files",),
)
_MISSING = Metric(
    "sentiment_labelled_version_missing",
    "gauge",
    "1 for a version that has a label and is not served, 0 for one that is served.",
    (*MODEL, "label"),
)

#: All statuses by protocol.
_ERRORS: tuple[type[RequestError], ...] = (RequestError, *RequestError.kinds)
_STATUSES = {
    "rest": [*sorted({"200", "499", *(str(error.http_status.value) for error in _ERRORS)}), _OTHER],
    "grpc": [*sorted({"OK", "CANCELLED", *(error.grpc_status for error in _ERRORS)}), _OTHER],
}

#: The statuses of requests that are refused because of load, over REST and gRPC.
_OVERLOADED = {str(Overloaded.http_status.value), Overloaded.grpc_status}

#: The statuses whose series a route has from its first request on: all routes, a version on those that run a model, and
#: such a route without a version. Each of the others has a series only after the first such request.
_USUAL = {"200", "500", "OK", "INTERNAL"}
_USUAL_IN_VERSIONS = (
    _USUAL
    | {"422", "429", "499", "504"}
    | {*("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "CANCELLED", "DEADLINE_EXCEEDED")}
)
_USUAL_WITH_MODEL = _USUAL_IN_VERSIONS | {"503", "UNAVAILABLE"}

#: The routes whose series exist from the start, and the statuses that they have then besides the usual ones: those of
#: the ratios in deploy/monitoring/rules/recording.yml.
_FROM_THE_START = {"/v1/predict", "/sentiment.v1.Sentiment/Predict", "other"}
_IN_RATIOS = {
    *("500", "504", "429", "503"),
    *("INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"),
    _OTHER,
}

#: The statuses of requests for which a version has been chosen. Requests with any other are counted without a version:
#: errors of access, format and protocol are found before.
_IN_VERSIONS = _USUAL_IN_VERSIONS | {"413", _OTHER}

#: The most versions that have series. While one replaces another, both are served for a moment.
CAPACITY = MAX_MODELS + 8

#: What the service reads again when the files change.
_FILES = ("certificates", "API keys", "administration keys")

#: Seconds for which a version that is no longer served keeps its series, so that Prometheus sees its last counts.
PAST_SECONDS = 300.0

#: The events that `Metrics.count` counts, and the values of the last label of each.
_EVENTS = {
    # The listener was full, its address had too many connections, or it was idle and made room for another one.
    REJECTED: ("limit", "address", "evicted"),
    # The bytes received are malformed, or exceed a limit.
    FAILED: ("malformed", "limit"),
    LOADS: ("loaded", "refused"),
    REPLACED: ("died", "hung"),
    # The store does not answer, does not accept the URL or the credentials, or is too slow; the folder of the copies
    # cannot be written; or the process that copies was killed or failed.
    STORE_FAILED: ("unreachable", "refused", "timeout", "folder", "process"),
    # The sink took the record, the queue was full, or the sink failed. Each is counted on one thread only.
    LOGGED: ("written", "dropped", "failed"),
}


class RouteKind(Enum):
    """What the requests of a route do."""

    MODEL = auto()  # run a model
    PROBE = auto()  # ask for health or metrics, which platforms do all the time
    OTHER = auto()


class _Route(NamedTuple):
    """The slots of a route in all versions."""

    used: int
    seconds: Histogram | None  # only of routes that run a model
    is_traffic: bool  # no probe

    def after(self, name: str) -> int | None:
        """Return the slot after which the series of the route with this name are exposed."""
        return None if name in _FROM_THE_START else self.used


class _Version(NamedTuple):
    """A version that has series."""

    block: int  # the number of its slots, which is the same in all processes
    labels: tuple[str, ...]
    statistics: Statistics


class ModelState(NamedTuple):
    """The state of one version: whether it is served, and why it was refused, in one word and in a sentence.

    Both apply to a version that is served while the files that replaced it were refused.
    """

    name: str
    version: int
    served: bool
    fault: str = ""  # empty if it was not refused
    reason: str = ""


class Metrics:
    """The metrics of all workers. Create it before the fork, and call `choose_row` in each worker.

    `routes` are all route labels by protocol (`rest` or `grpc`), and the kind of each route. They are fixed, so that
    clients which try many paths do not create series.

    A version has a block of slots. The process that creates the metrics, the supervisor, assigns the blocks, and each
    order to serve a version tells the workers its block. `clock` must be the same in all processes.
    """

    def __init__(
        self,
        routes: Mapping[str, Mapping[str, RouteKind]],
        workers: int = 1,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        layout = self._layout = Layout(model="", version="")
        self._routes: dict[Values, _Route] = {}
        self._requests: dict[Values, int] = {}
        for protocol, kinds in routes.items():
            for route, kind in kinds.items():
                self._add_route((protocol, route), kind)
        self._protocol_requests = layout.numbers(
            _PROTOCOL_REQUESTS, ((protocol, status) for protocol in routes for status in _STATUSES[protocol])
        )
        self._in_flight = layout.numbers(_IN_FLIGHT, product(routes))
        self._requests_waiting = layout.number(_REQUESTS_WAITING)
        self._texts_waiting = layout.number(_TEXTS_WAITING)
        self._reading_paused = layout.number(_READING_PAUSED)
        self._store_success = layout.number(_STORE_SUCCESS)
        self._files_refused = layout.numbers(_FILES_REFUSED, product(_FILES))
        self._events = {
            metric: layout.numbers(metric, product(*([routes] if "protocol" in metric.labels else []), values))
            for metric, values in _EVENTS.items()
        }

        largest = self._lay_out_version(Layout(model="", version=""), [str(n) for n in range(MAX_LABELS)]).layout
        self._version_slots = largest.end
        declared = dict.fromkeys((*layout.series, *largest.series, _BUILD, _INFO, _STATE, _EXPIRY, _MISSING))
        self._metrics = [metric for metric in declared if metric.help]
        self._counters = Counters(workers, layout.end + CAPACITY * self._version_slots)
        #: Requests by the names of keys, which are not known here.
        self.keys = KeyCounts(workers)
        self._versions: dict[Key, _Version] = {}
        #: When the version of each block was removed, or 0 while it is served. Only the supervisor writes to it.
        self._removed = Counters(1, CAPACITY).row
        self._clock = clock
        self._supervisor = os.getpid()
        self._started = start_time(self._supervisor)
        self._contents: tuple[object, ...] = ()  # of this exposition, except for the numbers
        self._exposition: Exposition

    def choose_row(self, worker: int) -> None:
        """Count as this worker from now on. The requests in flight of a dead worker in its place are reset."""
        self._counters.choose_row(worker)
        self.keys.choose_row(worker)
        for layout in (self._layout, *(each.statistics.layout for each in self._versions.values())):
            for slot in layout.gauges:
                self._counters.row[slot] = 0

    def assign(self, key: Key, labels: Sequence[str]) -> int:
        """Return the block of a version that is about to be served, and add its series. Call it in the supervisor.

        Without a free block, the version that was removed first loses its series. At most `CAPACITY` versions can be
        served.
        """
        if (known := self._versions.get(key)) is not None:
            block = known.block
        elif (block := len(self._versions)) == CAPACITY:
            block = min((each for each in range(CAPACITY) if self._removed[each]), key=self._removed.__getitem__)
        self._removed[block] = 0
        if known is None or known.labels != _counted(labels):
            # The rows of workers that have ended, too. The workers that count the block before clear it once more.
            self._counters.table[:, self._slots_of(block)] = 0
        self.add_model(key, labels, block)
        return block

    def add_model(self, key: Key, labels: Sequence[str], block: int) -> Statistics:
        """Count a version in a block from now on, and return its statistics.

        What this process still counts of the version that had the block before goes to the series without a model.
        """
        labels = _counted(labels)
        known = self._versions.get(key)
        if known is not None and (known.block, known.labels) == (block, labels):
            return known.statistics
        for other, each in [*self._versions.items()]:
            if each.block == block:
                each.statistics.detach(self._requests)
                del self._versions[other]
        # Other workers may count the version already, so this one clears only its own row.
        slots = self._slots_of(block)
        np.asarray(self._counters.row)[slots] = 0
        layout = Layout(slots.start, model=key[0], version=str(key[1]))
        added = _Version(block, labels, self._lay_out_version(layout, labels, self._counters))
        self._versions[key] = added
        return added.statistics

    def statistics(self, key: Key) -> Statistics:
        """Return the statistics of a version that was added. Raises `KeyError` for others."""
        return self._versions[key].statistics

    def retire(self, served: Collection[Key]) -> None:
        """Let the series of the versions that are not served end in `PAST_SECONDS`. Call it in the supervisor."""
        for key, version in self._versions.items():
            if key not in served and not self._removed[version.block]:
                self._removed[version.block] = self._clock()

    def count(self, event: Metric, *values: str) -> None:
        """Count an event, such as `REJECTED`, with the values of its labels. Raises `KeyError` for others."""
        self._counters.row[self._events[event][values]] += 1

    def began(self, protocol: str) -> None:
        """Count a request as in flight: it starts, or continues after `paused`."""
        self._counters.row[self._in_flight[protocol,]] += 1

    def paused(self, protocol: str) -> None:
        """Count that a request waits for its caller, until `began`: it is not in flight."""
        self._counters.row[self._in_flight[protocol,]] -= 1

    @property
    def in_flight(self) -> float:
        """The number of requests of this worker that have begun, and have not ended or been paused."""
        return sum(self._counters.row[slot] for slot in self._in_flight.values())

    def ended(self, protocol: str, route: str, status: str, seconds: float, context: RequestContext) -> None:
        """Count the end of a request."""
        row = self._counters.row
        row[self._in_flight[protocol,]] -= 1
        counted = self._routes[protocol, route]
        row[counted.used] = 1
        if counted.seconds is not None:
            counted.seconds.observe(row, seconds)
        if context.caller.startswith(KEY):
            self.keys.count(context.caller.removeprefix(KEY), refused=status in _OVERLOADED)
        statistics = context.statistics
        requests = self._requests if statistics is None else statistics.requests
        slot = requests.get((protocol, route, status))
        if slot is None:
            status = _OTHER
            slot = requests[protocol, route, status]
        row[slot] += 1
        if counted.is_traffic:
            row[self._protocol_requests[protocol, status]] += 1
        if statistics is not None and context.received and context.predicted:
            statistics.transferred(context.decoded - context.received, perf_counter_ns() - context.predicted)

    def in_use(self) -> set[Key]:
        """Return the versions that requests in progress use in any worker, even if they are no longer served."""
        return {key for key, version in self._versions.items() if version.statistics["running"] > 0}

    def waiting(self, requests: int, texts: int) -> None:
        """Set the number of requests that wait or run, and the number of their texts."""
        row = self._counters.row
        row[self._requests_waiting] = requests
        row[self._texts_waiting] = texts

    def reading_paused(self, seconds: float) -> None:
        """Count the seconds of a pause in which nothing is read."""
        self._counters.row[self._reading_paused] += seconds

    def store_updated(self, timestamp: float) -> None:
        """Set when the copies of a store were last updated, in seconds since 1970. Call it in one process only."""
        self._counters.row[self._store_success] = timestamp

    def files_refused(self, files: str, *, refused: bool) -> None:
        """Set whether this process refuses changed `certificates`, `API keys` or `administration keys`."""
        self._counters.row[self._files_refused[files,]] = refused

    def expose(
        self, states: Sequence[ModelState] = (), labelled: Sequence[LabelledVersion] = (), expiry: float | None = None
    ) -> bytes:
        """Return all series in the Prometheus text format, summed over the workers, with the states of all versions.

        `expiry` is when the TLS certificate expires, in seconds since 1970.
        """
        totals = self._counters.table.sum(axis=0)
        ended = self._clock() - PAST_SECONDS
        versions = tuple(each for each in self._versions.values() if not 0 < self._removed[each.block] <= ended)
        contents = (versions, tuple(states), tuple(labelled), expiry)
        if contents != self._contents or totals[self._exposition.left_out].any():
            constants = _lay_out_constants(states, labelled, expiry)
            layouts = [self._layout, *(version.statistics.layout for version in versions), constants]
            self._exposition = compose(self._metrics, layouts, totals)
            self._contents = contents
        fixed = self._exposition.fill_in(totals)
        return fixed + self.keys.expose() + expose_processes(self._supervisor, self._started)

    def _add_route(self, key: tuple[str, str], kind: RouteKind) -> None:
        """Add the series of a route without a version."""
        layout, (protocol, name) = self._layout, key
        route = _Route(layout.number(_USED, *key), None, kind is not RouteKind.PROBE)
        usual, after = _USUAL, route.after(name)
        if kind is RouteKind.MODEL:
            usual, route = _USUAL_WITH_MODEL, route._replace(seconds=layout.histogram(_SECONDS, *key, after=after))
        if after is None:
            usual = usual | _IN_RATIOS
        for status in _STATUSES[protocol]:
            rare = status not in usual
            self._requests[*key, status] = layout.number(_REQUESTS, *key, status, after=after, rare=rare)
        self._routes[key] = route

    def _slots_of(self, block: int) -> slice:
        first = self._layout.end + block * self._version_slots
        return slice(first, first + self._version_slots)

    def _lay_out_version(self, layout: Layout, labels: Sequence[str], counters: Counters | None = None) -> Statistics:
        requests = dict(self._requests)
        for key, route in self._routes.items():
            if route.seconds is not None:
                for status in (each for each in _STATUSES[key[0]] if each in _IN_VERSIONS):
                    after, rare = route.after(key[1]), status not in _USUAL_IN_VERSIONS
                    requests[*key, status] = layout.number(_REQUESTS, *key, status, after=after, rare=rare)
        return Statistics(labels, counters, layout, requests)


def _counted(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels whose scores are counted."""
    return tuple(labels[:MAX_LABELS])


def _lay_out_constants(
    states: Sequence[ModelState], labelled: Sequence[LabelledVersion], expiry: float | None
) -> Layout:
    layout = Layout()
    layout.constant(_BUILD, package_version(), platform.python_version(), onnxruntime.__version__)
    if expiry is not None:
        layout.constant(_EXPIRY, number=expiry)
    for each in states:
        key = (each.name, str(each.version))
        if each.served:
            layout.constant(_INFO, *key)
            layout.constant(_STATE, *key, "ready", "")
        if each.fault:
            layout.constant(_STATE, *key, "refused", each.fault)
    for name, version, label, served in labelled:
        layout.constant(_MISSING, name, str(version), label, number=int(not served))
    return layout
