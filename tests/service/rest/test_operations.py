"""Liveness, readiness and metrics."""

import gzip
import zlib
from collections.abc import Callable, Iterator

import pytest

from tests.processes import ServerProcess
from tests.service.telemetry.test_metrics import Series, series, value


@pytest.fixture
def fresh() -> Iterator[ServerProcess]:
    """Serve the shipped model for tests of the first requests."""
    with ServerProcess() as process:
        yield process


EXPAND: dict[str | None, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    None: bytes,
}


def scrape(process: ServerProcess) -> Series:
    return series(process.metrics())


def test_probes(server: ServerProcess) -> None:
    """A running server is alive, and ready until it shuts down."""
    for path, status in {"/livez": "alive", "/readyz": "ready"}.items():
        response = server.client.get(path)
        assert (response.status_code, response.json()) == (200, {"status": status})


def test_metrics_format(server: ServerProcess) -> None:
    """The metrics are in Prometheus' text format."""
    response = server.client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# HELP sentiment_requests_total " in response.text
    assert "# TYPE sentiment_request_seconds histogram" in response.text


def test_metrics_before_the_first_request(fresh: ServerProcess) -> None:
    """The series of the most used routes exist and are zero before the first request, and others after their first."""
    samples = series(fresh.client.get("/metrics").text)
    assert value(samples, "sentiment_model_info", model="imdb-cnn", version="1") == 1
    assert value(samples, "sentiment_texts_total", model="imdb-cnn") == 0
    assert value(samples, "sentiment_protocol_requests_total", protocol="rest", status="200") == 0
    for status in ("200", "422", "429", "499", "500", "503", "504", "other"):
        assert value(samples, "sentiment_requests_total", route="/v1/predict", status=status) == 0
    used = {dict(labels)["route"] for name, labels in samples if name == "sentiment_requests_total"}
    assert used <= {"/v1/predict", "/sentiment.v1.Sentiment/Predict", "other", "/readyz"}
    fresh.client.post("/v1/explain", json={"text": "great film"}).raise_for_status()
    samples = scrape(fresh)
    assert value(samples, "sentiment_request_seconds_count", route="/v1/explain") == 1
    for status in ("422", "429", "499", "500", "503", "504"):
        assert value(samples, "sentiment_requests_total", route="/v1/explain", status=status) == 0


def test_compressed_metrics(server: ServerProcess) -> None:
    """The metrics are compressed if the client accepts it, on both paths, and caches distinguish the answers."""
    for fields in ({}, {"if-none-match": "x"}):  # the second one is answered through ASGI
        for accepted in ("gzip", "br, GZIP;q=0.5", "deflate", "identity", "gzip;q=0", ""):
            with server.client.stream("GET", "/metrics", headers={"accept-encoding": accepted} | fields) as response:
                raw = b"".join(response.iter_raw())
            encoding = {"gzip": "gzip", "br, GZIP;q=0.5": "gzip", "deflate": "deflate"}.get(accepted)
            assert response.headers.get("content-encoding") == encoding
            assert (response.headers["vary"], response.headers["content-length"]) == ("accept-encoding", str(len(raw)))
            plain = EXPAND[encoding](raw)
            assert plain.startswith(b"# HELP ") and len(raw) <= (len(plain) / 5 if encoding else len(plain))


def test_counts(fresh: ServerProcess) -> None:
    """After known requests, every count is exact and all others are unchanged."""
    before = scrape(fresh)
    client = fresh.client
    client.post("/v1/predict", json={"text": "great qwertyuiop film"})
    client.post("/v1/predict", json={"text": "word " * 500})
    client.post("/v1/predict", json={"txt": "x"})
    client.post("/v1/predict", content=b"{")
    client.get("/v1/predict")
    client.post("/v1/predict_batch", json={"texts": ["", "asdfghjkl"]})
    client.post("/v1/predict_batch", json={"texts": ["x"] * 1025})
    client.get("/v1/models")
    client.get("/v1/models/imdb-cnn")
    client.get("/v1/models/other")
    client.get("/livez")
    client.post("/readyz")
    client.get("/no/such/route")
    client.get("/neither/such")
    after = scrape(fresh)

    moved = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
    requests = {
        (labels["route"], int(labels["status"])): change
        for (name, pairs), change in moved.items()
        if name == "sentiment_requests_total" and (labels := dict(pairs))["route"] != "/metrics"
    }
    assert requests == {
        ("/v1/predict", 200): 2,
        ("/v1/predict", 422): 1,
        ("/v1/predict", 400): 1,
        ("/v1/predict", 405): 1,
        ("/v1/predict_batch", 200): 1,
        ("/v1/predict_batch", 413): 1,
        ("/v1/models", 200): 1,
        ("/v1/models/{name}", 200): 1,
        ("/v1/models/{name}", 404): 1,
        ("/livez", 200): 1,
        ("/readyz", 405): 1,
        ("other", 404): 2,
    }
    assert moved["sentiment_request_seconds_count", frozenset({("protocol", "rest"), ("route", "/v1/predict")})] == 5
    of_model = {
        name: sum(change for (other, pairs), change in moved.items() if other == name and ("version", "1") in pairs)
        for name, _ in moved
        if not name.endswith(("_bucket", "_sum"))
    }
    assert {name: change for name, change in of_model.items() if change} == {
        "sentiment_requests_total": 4,  # the one with too many texts is the model's as well
        "sentiment_texts_total": 4,
        "sentiment_tokens_total": 4 + 501 + 1 + 2,
        "sentiment_unknown_tokens_total": 2,
        "sentiment_truncated_texts_total": 1,
        "sentiment_batch_texts_count": 3,
        "sentiment_score_count": 4,
        "sentiment_stage_seconds_count": 3 * 5,
    }


def test_paths_make_no_series(server: ServerProcess) -> None:
    """Requests to unknown paths add no series."""
    for path in ("/tried", "/v1/models/0"):
        server.client.get(path)
    before = scrape(server).keys()
    for number in range(50):
        server.client.get(f"/tried/{number}")
        server.client.get(f"/v1/models/{number}")
    assert scrape(server).keys() == before
