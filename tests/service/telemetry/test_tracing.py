"""Traces as a collector receives them: one span per request with its stages, in the caller's trace."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import SamplingResult, TraceIdRatioBased

from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest, PredictRequest
from sentiment_conv1d.service.telemetry import tracing
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.stubs import SentimentStub
from tests.proc import kill_children
from tests.processes import PATIENCE, ServerProcess, eventually, patch, run
from tests.service.grpc.channels import connect, refused

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
STAGES = ["decode", "queue", "tokenize", "infer", "encode"]


class Collector:
    """A collector that receives traces over OTLP and HTTP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.status = 200
        self.refusals = 0
        self.resource: dict[str, str] = {}
        self._grown = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                request = ExportTraceServiceRequest()
                request.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
                if collector.status == 200:
                    collector._take(request)
                else:
                    collector.refusals += 1
                self.send_response(collector.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for(self, found: Callable[[Span], object]) -> Span:
        """Wait for the first span that satisfies a condition."""

        def first() -> Span | None:
            return next(filter(found, self.spans), None)

        with self._grown:
            self._grown.wait_for(lambda: first() is not None, PATIENCE)
            span = first()
            assert span is not None, [each.name for each in self.spans]
            return span

    def children(self, span: Span) -> dict[str, Span]:
        """Return the children of a received span, which are sent before it."""
        return {each.name: each for each in self.spans if each.parent_span_id == span.span_id}

    def _take(self, request: ExportTraceServiceRequest) -> None:
        with self._grown:
            for of_resource in request.resource_spans:
                self.resource = {each.key: each.value.string_value for each in of_resource.resource.attributes}
                for of_scope in of_resource.scope_spans:
                    self.spans += of_scope.spans
            self._grown.notify_all()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Start a collector for this module's traces."""
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def refusing() -> Iterator[Collector]:
    """Start a collector that takes no traces."""
    collector = Collector()
    collector.status = 400
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def traced(collector: Collector) -> Iterator[ServerProcess]:
    """Serve with tracing."""
    flags = ("--tracing", "--access-log", "--log-format", "json")
    with ServerProcess(*flags, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="50") as server:
        yield server


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in span.attributes}


def identified(identity: str) -> Callable[[Span], object]:
    return lambda span: attributes(span).get("sentiment.request_id") == identity


def assert_stages(collector: Collector, span: Span) -> None:
    """Assert that a span has all stages, in order and within its time."""
    children = collector.children(span)
    assert sorted(children) == sorted(STAGES)
    times = [span.start_time_unix_nano]
    for stage in STAGES:
        child = children[stage]
        assert child.trace_id == span.trace_id
        times += (child.start_time_unix_nano, child.end_time_unix_nano)
    times.append(span.end_time_unix_nano)
    assert times == sorted(times)
    infer = children["infer"]
    assert infer.end_time_unix_nano > infer.start_time_unix_nano


def test_rest(collector: Collector, traced: ServerProcess) -> None:
    """A request is a span of its caller's trace, with its stages, and the answer and the log line name the trace."""
    headers = {"traceparent": TRACEPARENT, "x-request-id": "traced-1"}
    answer = traced.client.post("/v1/predict", json={"text": "A great film."}, headers=headers)
    assert answer.status_code == 200
    span = collector.wait_for(identified("traced-1"))
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert (span.name, span.kind) == ("POST /v1/predict", Span.SPAN_KIND_SERVER)
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.route": "/v1/predict",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": "/v1/predict",
        "network.protocol.version": "1.1",
        "client.address": "127.0.0.1",
        "sentiment.request_id": "traced-1",
        "sentiment.model": "imdb-cnn",
        "sentiment.version": 1,
        "sentiment.texts": 1,
    }
    assert_stages(collector, span)
    ours = f"00-{TRACE}-{span.span_id.hex()}-01"
    assert answer.headers["traceparent"] == answer.headers["traceresponse"] == ours
    line = json.loads(traced.wait_for_log(r".*traced-1.*")[0])
    assert (line["trace_id"], line["span_id"]) == (TRACE, span.span_id.hex())
    assert collector.resource["service.name"] == "sentiment-conv1d"


def test_large_batch(collector: Collector, traced: ServerProcess) -> None:
    """A batch that arrives and runs in pieces has all stages."""
    texts = [f"text number {number} " + "word " * 100 for number in range(1000)]
    answer = traced.client.post("/v1/predict_batch", json={"texts": texts}, headers={"x-request-id": "traced-2"})
    assert len(answer.json()["predictions"]) == 1000
    span = collector.wait_for(identified("traced-2"))
    assert attributes(span)["sentiment.texts"] == 1000
    assert attributes(span)["http.response.status_code"] == 200
    assert_stages(collector, span)
    assert answer.headers["traceparent"].split("-")[1:3] == [span.trace_id.hex(), span.span_id.hex()]


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("POST", "/v1/predict", "/v1/predict", 422),
        ("GET", "/v1/predict", "/v1/predict", 405),
        ("GET", "/v1/models", "/v1/models", 200),
        ("GET", "/v1/models/none", "/v1/models/{name}", 404),
        ("GET", "/no/such/path", "other", 404),
    ],
)
def test_other_requests(
    collector: Collector, traced: ServerProcess, method: str, path: str, route: str, status: int
) -> None:
    """Errors and other routes are spans with the route and not the path, and client errors are not failures."""
    identity = f"other-{method}-{path.strip('/')}"
    answer = traced.client.request(method, path, headers={"x-request-id": identity}, content=b"{}")
    assert answer.status_code == status and "traceparent" in answer.headers
    span = collector.wait_for(identified(identity))
    assert span.name == f"{method} {route}"
    assert attributes(span)["http.response.status_code"] == status
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert collector.children(span) == {}


def test_grpc(collector: Collector, traced: ServerProcess) -> None:
    """A gRPC call is a span of its caller's trace, answered or refused, unary or a stream."""
    with connect(traced) as channel:
        stub: Any = SentimentStub(channel)
        metadata = (("traceparent", TRACEPARENT), ("x-request-id", "traced-3"))
        answer, call = stub.PredictBatch.with_call(PredictBatchRequest(texts=["a", "b"]), metadata=metadata)
        assert len(answer.predictions) == 2
        span = collector.wait_for(identified("traced-3"))
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        assert (span.name, span.kind) == ("sentiment.v1.Sentiment/PredictBatch", Span.SPAN_KIND_SERVER)
        assert attributes(span) == {
            "rpc.system": "grpc",
            "rpc.service": "sentiment.v1.Sentiment",
            "rpc.method": "PredictBatch",
            "rpc.grpc.status_code": 0,
            "sentiment.request_id": "traced-3",
            "sentiment.model": "imdb-cnn",
            "sentiment.version": 1,
            "sentiment.texts": 2,
        }
        assert_stages(collector, span)
        assert dict(call.trailing_metadata())["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"

        refusal = refused(lambda: stub.Predict(PredictRequest(model="none"), metadata=(("x-request-id", "traced-4"),)))
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        span = collector.wait_for(identified("traced-4"))
        assert attributes(span)["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
        assert span.status.code == Status.STATUS_CODE_UNSET
        assert refusal.metadata["traceparent"].startswith(f"00-{span.trace_id.hex()}-{span.span_id.hex()}-")

        long = (("x-request-id", "traced-6"), ("x-long", "x" * 16_384))  # refused before the method begins
        refusal = refused(lambda: stub.Predict(PredictRequest(text="a"), metadata=long))
        span = collector.wait_for(identified("traced-6"))
        assert attributes(span)["rpc.grpc.status_code"] == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        assert span.span_id.hex() in refusal.metadata["traceparent"]

        stream = stub.PredictStream(iter([PredictRequest(text="a")] * 3), metadata=(("x-request-id", "traced-5"),))
        assert len(list(stream)) == 3
        span = collector.wait_for(identified("traced-5"))
        assert attributes(span)["rpc.grpc.status_code"] == 0
        assert collector.children(span) == {}


def test_foreign_contexts(collector: Collector, traced: ServerProcess) -> None:
    """A caller's decision against a trace is respected. Invalid headers start a new trace and log nothing."""
    for identity, given in (("long", "x" * 513), ("off", f"00-{TRACE}-{PARENT}-00"), ("nonsense", "00-nonsense")):
        headers = {"traceparent": given, "tracestate": "!", "baggage": "a,b", "x-request-id": identity}
        answer = traced.client.post("/v1/predict", json={"text": "x"}, headers=headers)
        _, trace, _, sampled = answer.headers["traceparent"].split("-")
        assert (trace == TRACE, int(sampled, 16) & 1) == ((True, 0) if identity == "off" else (False, 1))
    collector.wait_for(identified("nonsense"))
    traced.wait_for_log('"request_id":"nonsense"')
    assert not [line for line in traced.log if '"logger":"opentelemetry' in line]
    assert not [span for span in collector.spans if identified("off")(span)]


def test_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sampler is asked once for each request, and an exported span has the ids that the client was told."""
    asked: list[int] = []
    decide = TraceIdRatioBased.should_sample

    def count(sampler: TraceIdRatioBased, context: Any, trace_id: int, *rest: Any, **more: Any) -> SamplingResult:
        asked.append(trace_id)
        return decide(sampler, context, trace_id, *rest, **more)

    exporter = InMemorySpanExporter()
    monkeypatch.setattr(TraceIdRatioBased, "should_sample", count)
    monkeypatch.setattr(tracing, "_Exporter", lambda: exporter)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    tracer = tracing.Tracer()
    context = RequestContext("id")
    told = []
    for number in range(200):
        headers = (
            {b"traceparent": f"00-{number + 1:016x}{number * 2**55:016x}-{PARENT}-00".encode()} if number % 2 else {}
        )
        trace = tracer.begin("GET", headers, {}, context.started)
        trace.end("GET /", {"http.route": "/"}, context, failed=False)
        told.append(trace.fields[0][1].decode().split("-"))
    tracer.close()
    assert [f"{each:032x}" for each in asked] == [trace for _, trace, _, _ in told]
    sampled = [(trace, span) for _, trace, span, flags in told if int(flags, 16) & 1]
    spans = [each.context for each in exporter.get_finished_spans() if each.context is not None]
    assert [(f"{each.trace_id:032x}", f"{each.span_id:016x}") for each in spans] == sampled
    assert 0 < len(sampled) < len(told) and len({span for _, _, span, _ in told}) == len(told)
    assert {flags for *_, flags in told[::2]} <= {"02", "03"}, "the id of a new trace is random"


def test_health_has_no_spans(collector: Collector, traced: ServerProcess) -> None:
    """Probes and scrapes have no spans."""
    for path in ("/livez", "/readyz", "/metrics"):
        assert "traceparent" not in traced.client.get(path).headers
    traced.client.get("/v1/models", headers={"x-request-id": "after-health"})
    collector.wait_for(identified("after-health"))
    assert not [span for span in collector.spans if attributes(span).get("url.path") in ("/livez", "/readyz")]


#: Lets the last spans take as long as a slow machine needs.
PATIENT = f"""
from sentiment_conv1d.service.telemetry import tracing
tracing._FLUSH_SECONDS = {PATIENCE}
"""


def test_last_spans(collector: Collector, tmp_path: Path) -> None:
    """Waiting spans are sent at shutdown."""
    with ServerProcess(
        *("--tracing", "--workers", "1", "--shutdown-timeout", "600"),
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="600000",
        OTEL_SERVICE_NAME="reviews",
        PYTHONPATH=patch(tmp_path / "patch", PATIENT),
    ) as server:
        server.client.post("/v1/predict", json={"text": "x"}, headers={"x-request-id": "last"})
    collector.wait_for(identified("last"))
    assert collector.resource["service.name"] == "reviews"


def test_no_collector() -> None:
    """If the collector is down, requests are answered and the service exits as usual."""
    nowhere = "http://127.0.0.1:9"
    with ServerProcess(
        *("--tracing", "--workers", "1"), OTEL_EXPORTER_OTLP_ENDPOINT=nowhere, OTEL_BSP_SCHEDULE_DELAY="50"
    ) as server:
        for _ in range(100):
            assert server.client.post("/v1/predict", json={"text": "x"}).status_code == 200
        server.wait_for_log("WARNING .*traces cannot be sent to http://127.0.0.1:9/v1/traces, .*Connection refused")
        assert server.stop() == 0


def test_collector_that_refuses(refusing: Collector) -> None:
    """The log says once that the collector takes no traces, whatever the number of workers, and when it does again."""
    flags = ("--tracing", "--workers", "1")
    with ServerProcess(*flags, OTEL_EXPORTER_OTLP_ENDPOINT=refusing.url, OTEL_BSP_SCHEDULE_DELAY="20") as server:

        def send() -> None:
            httpx.post(f"{server.url}/v1/predict", json={"text": "x"}, timeout=PATIENCE, trust_env=False)

        def refuses(times: int) -> bool:
            send()
            return refusing.refusals >= times

        eventually(lambda: refuses(2))
        kill_children(server.process.pid)  # a new worker knows what the first one has logged
        refusing.refusals = 0
        eventually(lambda: refuses(2))
        refusing.status = 200
        send()
        server.wait_for_log("INFO .*traces are sent to .* again")
        refusing.status = 400
        send()
        eventually(lambda: sum("traces cannot be sent" in line for line in server.log) == 2)
    lines = [line for line in server.log if "traces" in line]
    assert len(lines) == 3 and "opentelemetry" not in "".join(server.log)
    assert re.search("WARNING .*traces cannot be sent to .*, and are lost until it takes them: .*400", lines[0])


def test_not_installed() -> None:
    """Without OpenTelemetry, --tracing prevents the start, and the message says what to install."""
    program = """
import sys
sys.modules["opentelemetry.sdk"] = None
from sentiment_conv1d.service.__main__ import main
sys.exit(main(["serve", "--tracing", "--port", "0"]))
"""
    result = run("-c", program)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: tracing needs OpenTelemetry, install the `tracing` extra")


def test_off() -> None:
    """Without tracing, no tracing library is loaded."""
    program = """
import asyncio, sys
import sentiment_conv1d.service.process.server
from sentiment_conv1d.service.settings import Settings
sentiment_conv1d.service.process.server.load_core(Settings(execution_provider="cpu"))
strange = ("opentelemetry.sdk", "opentelemetry.exporter", "service.telemetry.tracing")
assert not [name for name in sys.modules if name.removeprefix("sentiment_conv1d.").startswith(strange)]
"""
    result = run("-c", program)
    assert result.returncode == 0, result.stderr


def test_off_in_answers(server: ServerProcess) -> None:
    """Without tracing, answers have no trace, even if the caller sent one."""
    answer = server.client.post("/v1/predict", json={"text": "x"}, headers={"traceparent": TRACEPARENT})
    assert not {"traceparent", "traceresponse"} & set(answer.headers)
