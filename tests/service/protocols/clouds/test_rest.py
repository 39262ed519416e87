"""The container contracts of SageMaker, Vertex AI and Cloud Run."""

import json
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.service.__main__ import parser
from sentiment_conv1d.service.protocols import rest_protocols
from sentiment_conv1d.service.protocols.clouds import rest as clouds
from sentiment_conv1d.service.protocols.huggingface import rest as huggingface
from sentiment_conv1d.service.rest.routes import Routes
from sentiment_conv1d.service.settings import Settings, flag, named
from tests.processes import MODEL_REPOSITORY, PROBE, PROJECT, ServerProcess, eventually, run
from tests.service.protocols.huggingface.test_rest import scored
from tests.service.protocols.tfserving.test_rest import assert_rows, refusal, rows
from tests.service.telemetry.test_metrics import series, value

TEXTS = ["A gripping, beautifully acted film.", "Two dull hours that I will never get back.", ""]

PREDICT_ROUTE = "/v1/models/reviews:predict"
HEALTH_ROUTE = "/v1/models/reviews"


def invoke(server: ServerProcess, body: Any) -> httpx.Response:
    return server.client.post("/invocations", json=body)


def test_ping(server: ServerProcess) -> None:
    """`/ping` returns 200 without a body."""
    response = server.client.get("/ping")
    assert (response.status_code, response.content) == (200, b"")
    assert "GET" in refusal(server.client.post("/ping"), 405)


def test_inputs(server: ServerProcess, classifier: Classifier) -> None:
    """One text under `inputs` gets its labels, and several texts get theirs in order."""
    assert invoke(server, {"inputs": TEXTS[0]}).json() == scored(classifier, TEXTS[0])
    assert invoke(server, {"inputs": TEXTS}).json() == [scored(classifier, text) for text in TEXTS]
    assert invoke(server, {"inputs": TEXTS[:1]}).json() == [scored(classifier, TEXTS[0])]


def test_parameters(server: ServerProcess, classifier: Classifier) -> None:
    """`parameters` are those of text classification."""
    answer = invoke(server, {"inputs": TEXTS, "parameters": {"top_k": 1}}).json()
    assert answer == [scored(classifier, text)[:1] for text in TEXTS]
    assert "top_k" in refusal(invoke(server, {"inputs": "x", "parameters": {"top_k": 0}}), 400)


def test_instances(server: ServerProcess, classifier: Classifier) -> None:
    """Rows under `instances` get the answers of TensorFlow Serving."""
    answer = invoke(server, {"instances": [TEXTS[0], {"text": TEXTS[1]}, [TEXTS[2]]]}).json()
    assert answer.keys() == {"predictions"}
    assert_rows(answer["predictions"], rows(classifier, TEXTS))


@pytest.mark.parametrize("media_type", ["text/plain", "text/plain; charset=utf-8", "Text/Plain"])
def test_plain_text(server: ServerProcess, classifier: Classifier, media_type: str) -> None:
    """A text/plain body is one text in UTF-8, even if it resembles JSON."""
    for text in (*TEXTS, "½ étoile", '{"inputs": "x"}'):
        response = server.client.post("/invocations", content=text.encode(), headers={"content-type": media_type})
        assert response.json() == scored(classifier, text)


def test_other_media_types_are_json(server: ServerProcess, classifier: Classifier) -> None:
    """A body with any other Content-Type, or with none, is read as JSON."""
    body = json.dumps({"inputs": TEXTS[0]}).encode()
    for headers in ({}, {"content-type": "application/x-anything"}, {"content-type": "text/plainer"}):
        response = server.client.post("/invocations", content=body, headers=headers)
        assert response.json() == scored(classifier, TEXTS[0])


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "object"),
        (b"{}", "inputs or instances"),
        (b'{"text": "a"}', "inputs or instances"),
        (b'{"inputs": null, "instances": null}', "inputs or instances"),
        (b'{"inputs": "a", "instances": ["a"]}', "exactly one"),
        (b'{"inputs": 3}', "inputs"),
        (b'{"inputs": ["a", 3]}', "inputs.1"),
        (b'{"inputs": {"text": ["a"]}}', "inputs"),
        (b'{"inputs": []}', "at least one"),
        (b'{"instances": []}', "at least one"),
        (b'{"instances": "a"}', "instances"),
        (b'{"instances": [1]}', "instances.0"),
    ],
)
def test_bad_invocations(server: ServerProcess, body: bytes, names: str) -> None:
    """An invalid request gets a 400, and the message names the reason."""
    assert names in refusal(server.client.post("/invocations", content=body), 400)


def test_plain_text_that_is_not_utf8(server: ServerProcess) -> None:
    """Bytes that are not UTF-8 are refused."""
    headers = {"content-type": "text/plain"}
    assert "UTF-8" in refusal(server.client.post("/invocations", content=b"\xff", headers=headers), 400)


def test_invocations_take_post(server: ServerProcess) -> None:
    """Any other method gets a 405 that allows POST."""
    response = server.client.get("/invocations")
    assert "POST" in refusal(response, 405)
    assert response.headers["allow"] == "POST"


def test_too_large(server: ServerProcess) -> None:
    """Texts and bodies over the limits get a 413."""
    for body in ({"inputs": ["a"] * 1025}, {"inputs": "a" * 1_000_001}, {"instances": ["a" * 8_388_608]}):
        assert "limit" in refusal(invoke(server, body), 413)


@pytest.fixture(scope="module")
def vertex() -> Iterator[ServerProcess]:
    """Serve with Vertex AI's variables and routes that look like those of TensorFlow Serving."""
    routes = {"AIP_PREDICT_ROUTE": PREDICT_ROUTE, "AIP_HEALTH_ROUTE": HEALTH_ROUTE}
    with ServerProcess("--drain-delay", "60", repository=MODEL_REPOSITORY, AIP_MODE="PREDICTION", **routes) as process:
        yield process
        process.stop(signal.SIGINT)


def test_vertex_predict(vertex: ServerProcess, classifier: Classifier) -> None:
    """The default model answers rows under `instances` at Vertex AI's predict route."""
    response = vertex.client.post(PREDICT_ROUTE, json={"instances": TEXTS, "parameters": {}})
    assert response.json().keys() == {"predictions"}
    assert_rows(response.json()["predictions"], rows(classifier, TEXTS))
    assert "exactly one" in refusal(vertex.client.post(PREDICT_ROUTE, json={}), 400)
    assert "POST" in refusal(vertex.client.get(PREDICT_ROUTE), 405)


def test_vertex_keeps_the_other_routes(vertex: ServerProcess) -> None:
    """All other routes work as usual, and Vertex AI's routes are documented and counted."""
    assert vertex.client.post("/v1/models/imdb-cnn:predict", json={"instances": TEXTS}).status_code == 200
    assert vertex.client.get("/v1/models/imdb-cnn").json()["name"] == "imdb-cnn"
    assert vertex.client.post(PREDICT_ROUTE, json={"instances": TEXTS}).status_code == 200
    assert vertex.client.get(HEALTH_ROUTE).status_code == 200
    paths = vertex.client.get("/openapi.json").json()["paths"]
    assert "post" in paths[PREDICT_ROUTE] and "get" in paths[HEALTH_ROUTE]
    samples = series(vertex.metrics())
    for route in (PREDICT_ROUTE, HEALTH_ROUTE):
        assert value(samples, "sentiment_requests_total", route=route, status="200") > 0


def test_vertex_route_comes_first() -> None:
    """Vertex AI's route takes precedence over the same route of another protocol."""
    vertex = clouds.vertex_ai(Settings(predict_route="/predict"))
    match = Routes([vertex, huggingface.PROTOCOL]).find("/predict")
    assert match is not None and match.endpoint.summary == "Vertex AI: predict"
    assert match.protocol is vertex


def test_health_routes_say_when_to_leave(vertex: ServerProcess) -> None:
    """While the server drains, every health route returns 503 in its protocol's form, and requests are answered."""
    for path in (HEALTH_ROUTE, "/ping", "/health", "/readyz"):
        assert vertex.client.get(path).status_code == 200
    vertex.process.send_signal(signal.SIGTERM)
    eventually(lambda: vertex.client.get("/ping").status_code == 503)
    for path in (HEALTH_ROUTE, "/ping"):
        response = vertex.client.get(path)
        assert refusal(response, 503)
        assert response.headers["retry-after"] == "1"
    assert vertex.client.get("/health").json() == {"error": "shutting down", "error_type": "unhealthy"}
    assert vertex.client.get("/readyz").json()["error"]["code"] == "unavailable"
    assert vertex.client.post(PREDICT_ROUTE, json={"instances": TEXTS}).status_code == 200


@pytest.mark.parametrize("name", ["AIP_PREDICT_ROUTE", "AIP_HEALTH_ROUTE"])
@pytest.mark.parametrize("route", ["predict", "/", "/a b", "/{model}"])
def test_invalid_routes(name: str, route: str) -> None:
    """A route with invalid characters is refused, and the message names the variable."""
    result = run("-m", "service", "serve", "--port", "0", "--no-grpc", **{name: route})
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {name}: ")


@pytest.mark.parametrize(
    ("name", "route"),
    [("predict_route", "/v1/predict"), ("health_route", "/metrics"), ("health_route", "/openapi.json")],
)
def test_routes_of_the_service(name: str, route: str) -> None:
    """A route that would replace one of the service's own is refused before the service listens."""
    result = run("-m", "service", "serve", "--port", "0", "--no-grpc", flag(name), route)
    assert result.returncode == 2
    reason = f"error: {named(name)} must not be {route}, which is a route of the service"
    assert result.stderr.splitlines()[-1] == reason


def test_routes_that_stay_the_same() -> None:
    """Vertex AI can have the usual `/predict`, and a route that is a health probe anyway."""
    assert rest_protocols(Settings(predict_route="/predict", health_route="/ping"))


@pytest.mark.parametrize("name", ["PORT", "AIP_HTTP_PORT", "SENTIMENT_PORT"])
def test_port_variables(server: ServerProcess, name: str) -> None:
    """The variables of Cloud Run, Vertex AI and the service set the port for the service and for its probe."""
    port = str(server.port)  # taken, so the refusal tells which one was tried
    result = run("-m", "service", "serve", "--host", "127.0.0.1", "--no-grpc", **{name: port})
    assert result.returncode == os.EX_TEMPFAIL
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
    probe = run(*PROBE, **{name: port})
    assert (probe.returncode, probe.stderr) == (0, "")


def test_port_variables_in_order(server: ServerProcess) -> None:
    """Our variable overrides Vertex AI's, which overrides Cloud Run's; empty ones are unset, also for the probe."""
    port = str(server.port)  # taken, so the refusal tells which one was tried
    for variables in (
        {"SENTIMENT_PORT": port, "AIP_HTTP_PORT": "1", "PORT": "2"},
        {"SENTIMENT_PORT": "", "AIP_HTTP_PORT": port, "PORT": "2"},
        {"AIP_HTTP_PORT": "", "PORT": port},
    ):
        result = run("-m", "service", "serve", "--host", "127.0.0.1", "--no-grpc", **variables)
        assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
        assert run(*PROBE, **variables).returncode == 0


def test_container_serves() -> None:
    """The image runs `serve` by default and with SageMaker's argument, without a shell that would keep signals."""
    dockerfile = (PROJECT / "Dockerfile").read_text()
    [stage] = re.findall(r"^FROM \S+ AS runtime$(.*?)^FROM ", dockerfile, re.MULTILINE | re.DOTALL)
    assert dockerfile.rpartition("\nFROM ")[2].startswith("runtime AS cpu\n")
    [entrypoint] = map(json.loads, re.findall(r"^ENTRYPOINT (.*)$", stage, re.MULTILINE))
    [command] = map(json.loads, re.findall(r"^CMD (.*)$", stage, re.MULTILINE))
    assert entrypoint == ["python", "-m", "service"]
    assert command == ["serve"]
    assert parser().parse_args(["serve"]).command == "serve"
    assert not re.search(r"\bAIP_|\bPORT=", dockerfile)
