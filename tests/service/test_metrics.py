"""Metrics: every series from the start, exact counts, and no more series than there are routes and statuses."""

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from service.classifier import Classifier, Prediction
from service.errors import HTTP_STATUS
from service.metrics import Metrics

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(exposition: str) -> Series:
    """Every sample by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def value(samples: Series, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def read(metrics: Metrics) -> Series:
    return series(metrics.expose().decode())


def prediction(tokens: int, unknown: int, truncated: bool) -> Prediction:
    return Prediction("positive", np.float32(1), (np.float32(0), np.float32(1)), tokens, unknown, truncated)


def test_every_series_from_the_start(classifier: Classifier) -> None:
    """Before the first request, every series is there and is zero, so that rates are right from the start."""
    samples = read(Metrics({"rest": ["/a", "other"]}, [classifier.manifest]))
    for route in ("/a", "other"):
        for status in (200, *HTTP_STATUS.values()):
            assert (
                value(samples, "sentiment_requests_total", protocol="rest", route=route, status=str(int(status))) == 0
            )
        assert value(samples, "sentiment_request_seconds_count", protocol="rest", route=route) == 0
    for name in ("texts", "tokens", "unknown_tokens", "truncated_texts"):
        assert value(samples, f"sentiment_{name}_total", model="imdb-cnn") == 0
    assert value(samples, "sentiment_model_info", model="imdb-cnn", version="1") == 1


def test_counts(classifier: Classifier) -> None:
    """Requests, texts and tokens are counted exactly."""
    metrics = Metrics({"rest": ["/a"]}, [classifier.manifest])
    metrics.request("rest", "/a", "200", 0.003)
    metrics.request("rest", "/a", "200", 0.3)
    metrics.request("rest", "/a", "422", 0.0)
    metrics.predictions(classifier, [prediction(500, 2, True), prediction(7, 1, False)])
    samples = read(metrics)
    assert value(samples, "sentiment_requests_total", protocol="rest", route="/a", status="200") == 2
    assert value(samples, "sentiment_requests_total", protocol="rest", route="/a", status="422") == 1
    assert value(samples, "sentiment_request_seconds_count", protocol="rest", route="/a") == 3
    assert value(samples, "sentiment_request_seconds_bucket", protocol="rest", route="/a", le="0.005") == 2
    assert value(samples, "sentiment_texts_total", model="imdb-cnn") == 2
    assert value(samples, "sentiment_tokens_total", model="imdb-cnn") == 507
    assert value(samples, "sentiment_unknown_tokens_total", model="imdb-cnn") == 3
    assert value(samples, "sentiment_truncated_texts_total", model="imdb-cnn") == 1


def test_unforeseen_status(classifier: Classifier) -> None:
    """A status that nobody foresaw is counted all the same."""
    metrics = Metrics({"rest": ["/a"]}, [classifier.manifest])
    metrics.request("rest", "/a", "499", 0.1)
    metrics.request("rest", "/a", "499", 0.1)
    assert value(read(metrics), "sentiment_requests_total", protocol="rest", route="/a", status="499") == 2


def test_processes_do_not_share(classifier: Classifier) -> None:
    """Two sets of counters in one process do not count for each other."""
    first, second = (Metrics({"rest": ["/a"]}, [classifier.manifest]) for _ in range(2))
    first.request("rest", "/a", "200", 0.1)
    assert value(read(second), "sentiment_requests_total", protocol="rest", route="/a", status="200") == 0
