"""Metrics: the series exist in time, counts are exact, and the number of series is limited."""

import re
import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import version
from itertools import product
from multiprocessing import get_context
from time import perf_counter_ns, time

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.limits import MAX_MODELS
from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.server.errors import RequestError
from sentiment_conv1d.service.protocols import routes
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import (
    CAPACITY,
    PAST_SECONDS,
    REJECTED,
    Metrics,
    ModelState,
    RouteKind,
)
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.service.telemetry.statistics import BatchTimes, Statistics
from sentiment_conv1d.service.version_labels import LabelledVersion
from tests.processes import PATIENCE, PROJECT, SHIPPED_MODELS, ServerProcess

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(exposition: str) -> Series:
    """Return every sample by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def value(samples: Series, name: str, **labels: str) -> float:
    """Return the sum of the samples of a name with these labels. At least one must exist."""
    wanted = labels.items()
    found = [number for (each, given), number in samples.items() if each == name and wanted <= set(given)]
    assert found, f"no {name} with {labels}"
    return sum(found)


def metric(server: ServerProcess, name: str, **labels: str) -> float:
    """Return `value` for the metrics of a server. Parsing only this metric makes it fast enough to wait for a count."""
    exposition = server.metrics()
    return value(series("".join(line for line in exposition.splitlines(True) if line.startswith(name))), name, **labels)


def read(metrics: Metrics, states: Sequence[ModelState] = ()) -> Series:
    return series(metrics.expose(states).decode())


FIRST, SECOND = ModelState("imdb-cnn", 1, True, "damaged"), ModelState("imdb-cnn", 2, False, "incomplete")
SERVED = frozenset({("imdb-cnn", 1)})


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def add(metrics: Metrics, manifest: Manifest) -> Statistics:
    """Add a version."""
    key = manifest.name, manifest.version
    metrics.assign(key, manifest.labels)
    return metrics.statistics(key)


def prediction(tokens: int, unknown: int, truncated: bool) -> Prediction:
    return Prediction(
        "positive", np.float32(0.97), (np.float32(0.03), np.float32(0.97)), tokens, unknown, truncated, True
    )


def answer(
    metrics: Metrics,
    status: str,
    seconds: float,
    classifier: ServedClassifier | None = None,
    route: str = "/a",
    **moments: int,
) -> None:
    """Count a request."""
    context = RequestContext("id")
    if classifier is not None:
        context.manifest, context.statistics = classifier.manifest, classifier.statistics
    for name, moment in moments.items():
        setattr(context, name, moment)
    metrics.began("rest")
    metrics.ended("rest", route, status, seconds, context)


def requests(metrics: Metrics, name: str = "sentiment_requests_total", **labels: str) -> dict[str, float]:
    """Return the number of the requests with these labels by status."""
    numbers: dict[str, float] = {}
    for (each, pairs), number in read(metrics).items():
        if each == name and labels.items() <= pairs:
            status = dict(pairs)["status"]
            numbers[status] = numbers.get(status, 0) + number
    return numbers


def count(statistics: Statistics, *predictions: Prediction, nanoseconds: int = 0) -> None:
    """Count a request with these predictions."""
    statistics.count(predictions, [0], BatchTimes(4_000, 30_000, 2_000_000), nanoseconds)


def tokens_by_version(metrics: Metrics) -> dict[int, float]:
    """Return the tokens of every version that has series."""
    name = "sentiment_tokens_total"
    return {int(dict(labels)["version"]): number for (each, labels), number in read(metrics).items() if each == name}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(classifier: ServedClassifier, clock: Clock) -> Metrics:
    """Create metrics with routes of every kind and the shipped model. `/a` has answered nothing."""
    kinds = {"/v1/predict": RouteKind.MODEL, "/a": RouteKind.MODEL, "/b": RouteKind.OTHER, "/livez": RouteKind.PROBE}
    metrics = Metrics({"rest": kinds | {"other": RouteKind.OTHER}, "grpc": {}}, workers=2, clock=clock)
    classifier.statistics = add(metrics, classifier.manifest)
    return metrics


def test_series_from_the_start(metrics: Metrics) -> None:
    """Before the first request the usual series exist and are zero, so that rates are right from the start."""
    samples = read(metrics, [FIRST, SECOND])
    model = {"model": "imdb-cnn", "version": "1"}
    for status in ("200", "422", "429", "499", "500", "504"):
        key = {"protocol": "rest", "status": status}
        assert value(samples, "sentiment_requests_total", **key, route="/v1/predict", model="", version="") == 0
        assert value(samples, "sentiment_requests_total", **key, route="/v1/predict", **model) == 0
    assert value(samples, "sentiment_requests_total", route="other", status="200", model="", version="") == 0
    assert value(samples, "sentiment_request_seconds_count", protocol="rest", route="/v1/predict") == 0
    for protocol, status in (("rest", "200"), ("rest", "431"), ("rest", "other"), ("grpc", "OK"), ("grpc", "INTERNAL")):
        assert value(samples, "sentiment_protocol_requests_total", protocol=protocol, status=status) == 0
    for name in ("texts", "tokens", "unknown_tokens", "truncated_texts"):
        assert value(samples, f"sentiment_{name}_total", **model) == 0
    for stage in ("decode", "queue", "tokenize", "infer", "encode"):
        assert value(samples, "sentiment_stage_seconds_count", **model, stage=stage) == 0
    for label in ("negative", "positive"):
        assert value(samples, "sentiment_score_count", **model, label=label) == 0
    assert value(samples, "sentiment_batch_texts_count", **model) == 0
    assert value(samples, "sentiment_requests_in_flight", protocol="grpc") == 0
    assert value(samples, "sentiment_texts_waiting") == 0
    for outcome in ("loaded", "refused"):
        assert value(samples, "sentiment_model_loads_total", outcome=outcome) == 0
    for reason in ("died", "hung"):
        assert value(samples, "sentiment_workers_replaced_total", reason=reason) == 0
    for reason in ("unreachable", "refused", "timeout", "folder", "process"):
        assert value(samples, "sentiment_store_failures_total", reason=reason) == 0
    assert value(samples, "sentiment_store_last_success_timestamp_seconds") == 0
    for outcome in ("written", "dropped", "failed"):
        assert value(samples, "sentiment_request_log_total", outcome=outcome) == 0
    for reason in ("limit", "address", "evicted"):
        for protocol in ("rest", "grpc"):
            assert value(samples, "sentiment_connections_rejected_total", protocol=protocol, reason=reason) == 0
    for reason in ("malformed", "limit"):
        for protocol in ("rest", "grpc"):
            assert value(samples, "sentiment_connections_failed_total", protocol=protocol, reason=reason) == 0
    assert value(samples, "sentiment_model_info", **model) == 1
    assert value(samples, "sentiment_model_state", **model, state="ready", reason="") == 1
    assert value(samples, "sentiment_model_state", **model, state="refused", reason="damaged") == 1


def test_series_of_ratios() -> None:
    """Every status of a ratio of the recording rules exists from the start, in total and on the most used routes."""
    rules = (PROJECT / "deploy" / "monitoring" / "rules" / "recording.yml").read_text()
    statuses = {status for found in re.findall(r'status=~"(.+?)"', rules) for status in found.split("|")}
    metrics = Metrics(routes(Settings()))
    found = {}
    for protocol, used in (("rest", ("/v1/predict", "other")), ("grpc", ("/sentiment.v1.Sentiment/Predict",))):
        found[protocol] = requests(metrics, "sentiment_protocol_requests_total", protocol=protocol).keys() & statuses
        for route in used:
            assert requests(metrics, protocol=protocol, route=route).keys() & statuses == found[protocol]
    assert found["rest"] | found["grpc"] == statuses and found["rest"] & found["grpc"] == {"other"}


def test_series_of_a_route(metrics: Metrics, classifier: ServedClassifier) -> None:
    """A route has no series before its first request, and all usual ones after it, in every worker and version."""
    second = add(metrics, classifier.manifest.model_copy(update={"version": 2}))
    assert not [labels for _, labels in read(metrics) if {("route", "/a"), ("route", "/b")} & labels]
    metrics.choose_row(1)
    answer(metrics, "503", 0.1)
    metrics.choose_row(0)
    samples = read(metrics)
    assert value(samples, "sentiment_request_seconds_count", route="/a") == 1
    usual = dict.fromkeys(["200", "422", "429", "499", "500", "504"], 0)
    assert requests(metrics, route="/a", version="") == usual | {"503": 1}
    assert requests(metrics, route="/a", version="1") == requests(metrics, route="/a", version="2") == usual
    assert not requests(metrics, route="/b")
    answer(metrics, "404", 0.1, route="/b")
    assert requests(metrics, route="/b") == {"200": 0, "404": 1, "500": 0}
    context = RequestContext("id")
    context.statistics = second
    metrics.began("rest")
    metrics.ended("rest", "/a", "413", 0.1, context)
    assert requests(metrics, route="/a", version="2") == usual | {"413": 1}
    assert requests(metrics, route="/a", version="1") == usual


def test_scrapes_during_the_first_requests(metrics: Metrics, classifier: ServedClassifier) -> None:
    """No series disappears and no counter decreases while workers answer the first requests, end and are replaced."""
    context = get_context("fork")

    def work(worker: int) -> None:
        metrics.choose_row(worker)
        for route in ("/v1/predict", "/a", "/b", "/livez", "other"):
            for number in range(100):
                status = ("200", "500", "404", "299")[number % 4]
                answer(metrics, status, 0.1, classifier if number % 3 else None, route)

    before: Series = {}
    for _ in range(2):
        workers = [context.Process(target=work, args=(number,)) for number in range(2)]
        for each in workers:
            each.start()
        running = True
        while running:
            running = any(each.is_alive() for each in workers)
            samples = read(metrics)
            for key, number in before.items():
                if re.fullmatch("sentiment_.+_(total|bucket|count|sum)", key[0]):
                    assert samples[key] >= number
            before = samples
    assert value(before, "sentiment_requests_total") == 2000
    assert value(before, "sentiment_protocol_requests_total") == 1600


def test_probes(metrics: Metrics) -> None:
    """Probes are counted by route and not in the total of the protocol, from which the ratios of errors are."""
    answer(metrics, "503", 0.1, route="/livez")
    answer(metrics, "500", 0.1, route="/b")
    answer(metrics, "299", 0.1, route="/b")
    assert requests(metrics, route="/livez") == {"200": 0, "500": 0, "503": 1}
    total = requests(metrics, "sentiment_protocol_requests_total")
    assert {status: number for status, number in total.items() if number} == {"500": 1, "other": 1}
    kinds = routes(Settings())["rest"]
    probes = {"/livez", "/readyz", "/health", "/ping", "/metrics", "/v2/health/live", "/v2/health/ready"}
    assert {route for route, kind in kinds.items() if kind is RouteKind.PROBE} == probes


def test_size_of_the_metrics() -> None:
    """The metrics of the four shipped models have at most 60 kB before the first request.

    They have at most 220 kB after all kinds of errors on all their routes. docs/metrics.md tells about how many series
    a version has.
    """
    declared = routes(Settings())
    metrics = Metrics(declared)
    manifests = [read_artifact(folder).manifest for folder in SHIPPED_MODELS.values()]
    assert len(manifests) == 4
    states = [ModelState(each.name, each.version, True) for each in manifests]
    contexts = [RequestContext("id") for _ in manifests]
    for context, manifest in zip(contexts, manifests, strict=True):
        context.statistics = add(metrics, manifest)
    page = " ".join((PROJECT / "docs" / "metrics.md").read_text().split())
    least, most = re.findall(r"has about (\d+) series from the start, and at most (\d+)", page)[0]
    exposition = metrics.expose(states)
    assert round(exposition.count(b'model="imdb-cnn"'), -1) == int(least)
    assert len(exposition) <= 60_000
    for protocol, names in declared.items():
        for route in (name for name, kind in names.items() if kind is RouteKind.MODEL):
            for kind, context in product(RequestError.kinds, contexts):
                status = str(kind.http_status.value) if protocol == "rest" else kind.grpc_status
                metrics.ended(protocol, route, status, 0.1, context)
    exposition = metrics.expose(states)
    assert round(exposition.count(b'model="imdb-cnn"'), -1) == int(most)
    assert len(exposition) <= 220_000


def test_errors_without_a_version(metrics: Metrics, classifier: ServedClassifier) -> None:
    """Errors that are found before a version is chosen have no series of versions, and no time if no model runs."""
    answer(metrics, "404", 0.1, classifier)
    metrics.began("rest")
    metrics.ended("rest", "other", "404", 0.1, RequestContext("id"))
    samples = read(metrics)
    key = {"protocol": "rest", "status": "404", "model": ""}
    assert [value(samples, "sentiment_requests_total", **key, route=route) for route in ("/a", "other")] == [1, 1]
    assert value(samples, "sentiment_requests_total", protocol="rest", status="404") == 2
    assert value(samples, "sentiment_request_seconds_count") == 1


def test_requests(metrics: Metrics, classifier: ServedClassifier) -> None:
    """Requests are counted exactly, by model if they used one."""
    answer(metrics, "200", 0.003, classifier)
    answer(metrics, "200", 0.3, classifier)
    answer(metrics, "422", 0.0)
    samples = read(metrics)
    key = {"protocol": "rest", "route": "/a"}
    assert value(samples, "sentiment_requests_total", **key, status="200", model="imdb-cnn", version="1") == 2
    assert value(samples, "sentiment_requests_total", **key, status="200", model="") == 0
    assert value(samples, "sentiment_requests_total", **key, status="422", model="") == 1
    assert value(samples, "sentiment_requests_total", **key) == 3
    assert value(samples, "sentiment_request_seconds_count", **key) == 3
    assert value(samples, "sentiment_request_seconds_bucket", **key, le="0.005") == 2
    assert value(samples, "sentiment_request_seconds_sum", **key) == pytest.approx(0.303)


def test_rejected_connections(metrics: Metrics, classifier: ServedClassifier) -> None:
    """Rejected connections are counted by protocol and reason, and no other series changes."""
    count(classifier.statistics, prediction(500, 2, True))
    before = read(metrics)
    for protocol, reason in (("rest", "limit"), ("grpc", "evicted"), ("grpc", "evicted")):
        metrics.count(REJECTED, protocol, reason)
    after = {key: number for key, number in read(metrics).items() if key[0].startswith("sentiment_")}
    changed = {key: number for key, number in after.items() if before[key] != number}
    assert sum(changed.values()) == 3 and len(changed) == 2
    assert value(changed, "sentiment_connections_rejected_total", protocol="rest", reason="limit") == 1
    assert value(changed, "sentiment_connections_rejected_total", protocol="grpc", reason="evicted") == 2


def test_texts(metrics: Metrics, classifier: ServedClassifier) -> None:
    """Texts, tokens and scores are counted exactly."""
    statistics = classifier.statistics
    count(statistics, prediction(500, 2, True))
    count(statistics, prediction(7, 1, False))
    statistics.ran(2, 1)
    samples = read(metrics)
    assert value(samples, "sentiment_texts_total", model="imdb-cnn") == 2
    assert value(samples, "sentiment_tokens_total", model="imdb-cnn") == 507
    assert value(samples, "sentiment_unknown_tokens_total", model="imdb-cnn") == 3
    assert value(samples, "sentiment_truncated_texts_total", model="imdb-cnn") == 1
    assert value(samples, "sentiment_batch_texts_bucket", le="1") == 0
    assert value(samples, "sentiment_batch_texts_bucket", le="2") == 1
    assert value(samples, "sentiment_score_bucket", label="positive", le="0.95") == 0
    assert value(samples, "sentiment_score_bucket", label="positive", le="0.99") == 2
    assert value(samples, "sentiment_score_count", label="negative") == 0


def test_statistics_of_all_workers(metrics: Metrics, classifier: ServedClassifier) -> None:
    """Counts are summed over the workers, and the last inference is the latest one of any worker."""
    began = int(time() * 1000)
    for worker in (0, 1):
        metrics.choose_row(worker)
        count(classifier.statistics, prediction(7, 1, False), nanoseconds=50)
    assert (classifier.statistics["texts"], classifier.statistics["success_time"]) == (2, 100)
    assert classifier.statistics.successes == 2
    assert began <= classifier.statistics["last_inference"] <= time() * 1000


def test_stages(metrics: Metrics, classifier: ServedClassifier) -> None:
    """The stages of a request are observed in seconds, and a refused request has none."""
    count(classifier.statistics, nanoseconds=9_000_000)
    answer(metrics, "200", 0.01, classifier, received=1_000, decoded=41_000, predicted=perf_counter_ns())
    answer(metrics, "429", 0.01, classifier, received=1_000, decoded=41_000)
    samples = read(metrics)
    for stage, le in (("decode", "5e-05"), ("queue", "1e-05"), ("tokenize", "5e-05"), ("infer", "0.0025")):
        assert value(samples, "sentiment_stage_seconds_bucket", stage=stage, le=le) == 1
        assert value(samples, "sentiment_stage_seconds_count", stage=stage) == 1
    for stage, seconds in (("decode", 40e-6), ("queue", 4e-6), ("tokenize", 30e-6), ("infer", 2e-3)):
        assert value(samples, "sentiment_stage_seconds_sum", stage=stage) == pytest.approx(seconds)
    assert classifier.statistics["success_time"] == 9_000_000
    assert value(samples, "sentiment_stage_seconds_count", stage="encode") == 1


def test_gauges(metrics: Metrics) -> None:
    """Requests in flight and waiting show the current number, and a dead worker does not count."""
    metrics.began("rest")
    metrics.began("rest")
    metrics.waiting(1, 7)
    assert value(read(metrics), "sentiment_requests_in_flight", protocol="rest") == metrics.in_flight == 2
    assert value(read(metrics), "sentiment_requests_waiting") == 1
    assert value(read(metrics), "sentiment_texts_waiting") == 7
    metrics.ended("rest", "/a", "200", 0.1, RequestContext("id"))
    metrics.waiting(0, 0)
    assert value(read(metrics), "sentiment_requests_in_flight", protocol="rest") == 1
    assert value(read(metrics), "sentiment_requests_waiting") == 0
    assert value(read(metrics), "sentiment_texts_waiting") == 0
    metrics.choose_row(0)
    assert value(read(metrics), "sentiment_requests_in_flight", protocol="rest") == metrics.in_flight == 0


def test_unforeseen_status(metrics: Metrics, classifier: ServedClassifier) -> None:
    """An unexpected status is counted, and a route has its series only then."""
    answer(metrics, "200", 0.1)
    assert "other" not in requests(metrics, route="/a")
    answer(metrics, "299", 0.1)
    answer(metrics, "299", 0.1, classifier)
    samples = read(metrics)
    assert value(samples, "sentiment_requests_total", protocol="rest", route="/a", status="other", model="") == 1
    assert value(samples, "sentiment_requests_total", protocol="rest", route="/a", status="other", version="1") == 1


def test_versions(metrics: Metrics, classifier: ServedClassifier) -> None:
    """A new version is counted separately, the old counts stay, and the info names the served version."""
    count(classifier.statistics, prediction(3, 0, False))
    count(add(metrics, classifier.manifest.model_copy(update={"version": 2})), prediction(4, 0, False))
    samples = read(metrics, [FIRST, SECOND])
    assert value(samples, "sentiment_tokens_total", version="1") == 3
    assert value(samples, "sentiment_tokens_total", version="2") == 4
    assert {dict(labels)["version"] for name, labels in samples if name == "sentiment_model_info"} == {"1"}


def test_states(metrics: Metrics) -> None:
    """Every scrape shows the versions that are served and refused at that time."""
    assert value(read(metrics, [FIRST]), "sentiment_model_state", version="1", state="refused") == 1
    samples = read(metrics, [ModelState("imdb-cnn", 1, True)])
    states = [dict(labels)["state"] for name, labels in samples if name == "sentiment_model_state"]
    assert states == ["ready"]


def test_keys(metrics: Metrics) -> None:
    """Requests are counted by the name of their key in all workers, and those of keys after the first 64 together."""
    metrics.keys.add(["nightly"])
    assert value(read(metrics), "sentiment_key_requests_total", key="nightly") == 0
    for worker, (caller, status) in enumerate([("key nightly", "429"), ("key nightly", "200")]):
        metrics.choose_row(worker)
        context = RequestContext("id", caller=caller)
        metrics.began("rest")
        metrics.ended("rest", "/a", status, 0.1, context)
    samples = read(metrics)
    assert value(samples, "sentiment_key_requests_total", key="nightly") == 2
    assert value(samples, "sentiment_key_refused_total", key="nightly") == 1
    metrics.choose_row(1)  # a worker in the place of a dead one
    for number in range(70):
        metrics.keys.count(str(number), refused=False)
    samples = read(metrics)
    assert value(samples, "sentiment_key_requests_total", key="62") == 1
    assert value(samples, "sentiment_key_requests_total", key="other") == 7
    assert value(samples, "sentiment_key_requests_total", key="nightly") == 2


def test_build(metrics: Metrics) -> None:
    """The version of the service and those of Python and ONNX Runtime are labels of one series."""
    versions = {
        "version": tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"],
        "python": sys.version.split()[0],
        "onnxruntime": version("onnxruntime"),
    }
    assert read(metrics)["sentiment_build_info", frozenset(versions.items())] == 1


def test_series_of_a_removed_version(metrics: Metrics, classifier: ServedClassifier, clock: Clock) -> None:
    """A removed version has its last counts for five minutes, and then no series, in any process.

    If it is served again, its counts go on.
    """
    second = classifier.manifest.model_copy(update={"version": 2})
    statistics = add(metrics, second)
    context = get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    removed = context.Event()

    def scrape() -> None:
        removed.wait(PATIENCE)
        for _ in range(2):
            writer.send(tokens_by_version(metrics))
            clock.now += PAST_SECONDS

    worker = context.Process(target=scrape)
    worker.start()
    count(statistics, prediction(7, 0, False))
    metrics.retire(SERVED)
    removed.set()
    worker.join(PATIENCE)
    assert [reader.recv(), reader.recv()] == [{1: 0, 2: 7}, {1: 0}]
    clock.now += 1
    metrics.retire(SERVED)
    clock.now += PAST_SECONDS - 1.5
    assert tokens_by_version(metrics) == {1: 0, 2: 7}
    clock.now += 0.5
    assert tokens_by_version(metrics) == {1: 0}
    count(add(metrics, second), prediction(1, 0, False))
    assert tokens_by_version(metrics) == {1: 0, 2: 8}


def test_many_removed_versions(metrics: Metrics, classifier: ServedClassifier, clock: Clock) -> None:
    """If there are too many versions, the one that was removed first loses its series, and served ones never do.

    A request that a version without series still answers counts as a request without a model.
    """
    manifest = classifier.manifest
    count(classifier.statistics, prediction(3, 0, False))
    statistics = {}
    for number in range(2, CAPACITY + 1):
        metrics.choose_row(number % 2)
        statistics[number] = add(metrics, manifest.model_copy(update={"version": number}))
        count(statistics[number], prediction(number, 0, False))
    served = {("imdb-cnn", number) for number in range(1, CAPACITY + 1)}
    for number in (50, 20, 30):
        served -= {("imdb-cnn", number)}
        metrics.retire(served)
        clock.now += 1
    for number in (100, 101):
        count(add(metrics, manifest.model_copy(update={"version": number})), prediction(number, 0, False))
    samples, tokens = read(metrics), tokens_by_version(metrics)
    kept = {*range(2, CAPACITY + 1), 100, 101} - {50, 20}
    assert tokens == {1: 3} | {number: number for number in kept}
    assert value(samples, "sentiment_requests_total", version="100") == 0
    classifier.statistics = statistics[50]
    answer(metrics, "200", 0.1, classifier)
    count(classifier.statistics, prediction(5, 0, False))
    assert value(read(metrics), "sentiment_requests_total", status="200") == 1
    assert value(read(metrics), "sentiment_requests_total", status="200", model="") == 1
    assert tokens_by_version(metrics) == tokens


@pytest.mark.parametrize("character", ["x", "\N{GRINNING FACE}", '"', "\1"])
def test_longest_labels(metrics: Metrics, classifier: ServedClassifier, character: str) -> None:
    """A version whose name and labels are as long as a manifest allows is counted."""
    labels = tuple(f"{number:x}".ljust(200, character) for number in range(16))
    changes = {"name": "n" * 64, "version": 10**18 - 1, "labels": labels}
    statistics = add(metrics, classifier.manifest.model_copy(update=changes))
    count(statistics, *(prediction(3, 0, False)._replace(label=label) for label in labels))
    samples = read(metrics)
    assert {value(samples, "sentiment_score_count", model="n" * 64, label=label) for label in labels} == {1}


def test_replaced_files_with_other_labels(metrics: Metrics, classifier: ServedClassifier) -> None:
    """Every series of a version exists once, for the new files, however often its files are replaced."""
    count(classifier.statistics, prediction(3, 0, False))
    for number in range(MAX_MODELS):
        manifest = classifier.manifest.model_copy(update={"labels": ("negative", f"other {number}")})
        classifier.statistics = add(metrics, manifest)
    count(classifier.statistics, prediction(4, 0, False))
    names = [line.rpartition(" ")[0] for line in metrics.expose().decode().splitlines() if line[0] != "#"]
    assert len(set(names)) == len(names)
    assert value(read(metrics), "sentiment_tokens_total", version="1") == 4


def test_versions_in_workers(metrics: Metrics, classifier: ServedClassifier) -> None:
    """A worker counts a version where the others look for it, and a new version begins with zero in every worker."""
    labels = classifier.manifest.labels
    keys = [("imdb-cnn", number) for number in range(2, CAPACITY + 3)]
    old, new = keys[-4:-2], keys[-2:]
    for key in keys[:-4]:
        metrics.assign(key, labels)
    context = get_context("fork")
    ours, theirs = context.Pipe()

    def work() -> None:
        metrics.choose_row(1)
        statistics = [metrics.add_model(key, labels, theirs.recv()) for key in old]
        blocks = theirs.recv(), theirs.recv()
        for each in statistics:
            count(each, prediction(1000, 0, False))  # of requests that end late
        for key, block in reversed([*zip(new, blocks, strict=True)]):
            count(metrics.add_model(key, labels, block), prediction(key[1], 0, False))

    worker = context.Process(target=work)
    worker.start()
    for key in old:
        ours.send(metrics.assign(key, labels))
    metrics.retire(SERVED | {*keys} - {*old})
    for key in new:
        ours.send(metrics.assign(key, labels))
    worker.join(PATIENCE)
    tokens = tokens_by_version(metrics)
    assert len(tokens) == CAPACITY and not tokens.keys() & {number for _, number in old}
    assert {number: count for number, count in tokens.items() if count} == {number: number for _, number in new}


def test_requests_that_use_replaced_files(metrics: Metrics, classifier: ServedClassifier) -> None:
    """A request that ends after its worker has opened the new files leaves their requests in use."""
    old = classifier.statistics
    old.began()
    new = add(metrics, classifier.manifest.model_copy(update={"labels": ("negative", "other")}))
    new.began()
    old.ended()
    assert metrics.in_use() == SERVED


def test_sets_of_counters_do_not_share(classifier: ServedClassifier) -> None:
    """Two sets of counters in one process are independent."""
    first, second = (Metrics({"rest": {"/a": RouteKind.MODEL}}) for _ in range(2))
    for each in (first, second):
        add(each, classifier.manifest)
    answer(first, "200", 0.1)
    assert value(read(first), "sentiment_protocol_requests_total", status="200") == 1
    assert value(read(second), "sentiment_protocol_requests_total", status="200") == 0


def test_documentation(metrics: Metrics) -> None:
    """docs/metrics.md lists every series with its labels, and no other."""
    page = (PROJECT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `((?:sentiment|process)_\w+)` \| (.*?) \|", page, re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    exposed = {}
    metrics.keys.add(["nightly"])
    labelled = LabelledVersion(FIRST.name, FIRST.version, "default", served=True)
    for family in text_string_to_metric_families(metrics.expose([FIRST], [labelled], expiry=1.0).decode()):
        suffix = "_total" if family.type == "counter" else ""
        exposed[family.name + suffix] = set(family.samples[0].labels) - {"le"}
    assert documented == exposed
