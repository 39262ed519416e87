"""The gRPC port: in use, turned off, and at shutdown."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import os
import queue
import signal
import socket
from collections import deque
from typing import Any

import grpc
import pytest
import uvloop
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo
from google.rpc.status_pb2 import Status as RpcStatus

from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest, Prediction, PredictRequest
from sentiment_conv1d.server.grpc.call import CALL_BYTES
from sentiment_conv1d.service.protocols.native.grpc import PREDICT, PREDICT_BATCH, PREDICT_STREAM
from sentiment_conv1d.service.protocols.oip.grpc import MODEL_STREAM_INFER
from sentiment_conv1d.stubs import SentimentStub
from tests.attacks import wire as attack
from tests.proc import children
from tests.processes import PATIENCE, ServerProcess, eventually, pause, run
from tests.service.grpc import wire
from tests.service.grpc.channels import connect, refused
from tests.service.grpc.raw import Caller, message
from tests.service.protocols.oip.messages import text_request
from tests.service.telemetry.test_metrics import metric
from tests.service.test_callers_with_access import grpc as grpc_connection

REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
SERVER_READY = "/inference.GRPCInferenceService/ServerReady"
HEALTH_CHECK, HEALTH_WATCH = (f"/grpc.health.v1.Health/{method}" for method in ("Check", "Watch"))
ONE = PredictRequest(text="one").SerializeToString()
MANY = PredictBatchRequest(texts=["word " * 5] * 512).SerializeToString()


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_port_taken() -> None:
    """If the gRPC port is in use, the service does not start and exits with status 75 and one sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ("--host", "127.0.0.1", "--port", "0", "--grpc-port", str(port))
        result = run("-m", "service", "serve", *flags)
    assert result.returncode == 75
    assert result.stderr.splitlines()[-1].startswith(f"error: cannot listen on 127.0.0.1:{port} for gRPC")
    assert "Traceback" not in result.stderr


def test_port_of_another_server(server: ServerProcess) -> None:
    """A second server cannot share the gRPC port of the first."""
    flags = ("--host", "127.0.0.1", "--port", "0", "--grpc-port", str(server.grpc_port))
    result = run("-m", "service", "serve", *flags)
    assert result.returncode == 75
    assert f"cannot listen on 127.0.0.1:{server.grpc_port} for gRPC" in result.stderr


def test_no_grpc() -> None:
    """With --no-grpc nothing listens on the gRPC port, and REST works as usual."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ServerProcess("--no-grpc", "--grpc-port", str(port)) as server:
        assert not [line for line in server.log if "grpc://" in line]
        assert server.client.post("/v1/predict", json={"text": "x"}).json()["tokens"] == 2
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), PATIENCE)


@pytest.mark.parametrize("path", [HEALTH_CHECK, SERVER_READY, REFLECTION])
def test_request_ids(server: ServerProcess, path: str) -> None:
    """Calls without metrics return a request id too, the caller's own if it sends one."""
    with Caller(server.grpc_port) as caller:
        assert caller.call(path, b"", {"x-request-id": "mine"}).fields["x-request-id"] == "mine"
        assert len(caller.call(path, b"").fields["x-request-id"]) == 16


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6() -> None:
    """Both protocols can listen on an IPv6 address."""
    with ServerProcess("--host", "::1") as server:
        assert [line for line in server.log if f"grpc://[::1]:{server.grpc_port}" in line]
        options = [("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(f"[::1]:{server.grpc_port}", options=options) as channel:
            assert SentimentStub(channel).Predict(PredictRequest(text="x")).tokens == 2


def test_running_calls_are_finished() -> None:
    """Calls in progress at SIGTERM are answered completely, later calls are rejected, and the exit status is 0."""
    with ServerProcess() as server, connect(server) as channel, Caller(server.grpc_port) as caller:
        stub = SentimentStub(channel)
        assert stub.Predict(PredictRequest(text="x")).tokens == 2
        assert caller.call(PREDICT, ONE).status == 0
        batch = PredictBatchRequest(texts=["word " * 1600] * 1000)
        calls: list[Any] = []

        def is_running() -> bool:
            if sum(not call.done() for call in calls) < 2:  # a single one can end before a scrape shows it
                calls.append(stub.PredictBatch.future(batch, timeout=PATIENCE))
            return metric(server, "sentiment_texts_waiting") > 0

        eventually(is_running)
        stream = caller.begin(PREDICT_STREAM)
        texts = [PredictRequest(text="x " * count).SerializeToString() for count in range(1, 9)]
        caller.data(stream, b"".join(map(message, texts)), ended=False)
        server.process.send_signal(signal.SIGTERM)
        answers = caller.answer(stream).messages
        assert [Prediction.FromString(each).tokens for each in answers] == list(range(2, 10))
        for call in calls:
            assert [each.tokens for each in call.result().predictions] == [1601] * 1000
        assert server.process.wait(PATIENCE) == 0
        assert refused(lambda: stub.Predict(PredictRequest(text="x"))).code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("method", [PREDICT_STREAM, MODEL_STREAM_INFER, REFLECTION])
def test_idle_stream_is_ended(method: str) -> None:
    """A stream that only waits for its caller is not in flight. At shutdown, the server ends it, which is no error."""
    with ServerProcess("--shutdown-timeout", str(2 * int(PATIENCE))) as server, connect(server) as channel:
        messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        stream: Any = channel.stream_stream(method)
        answers = stream(iter(messages.get, None), timeout=PATIENCE)
        messages.put(b"")
        assert next(answers)
        eventually(lambda: metric(server, "sentiment_requests_in_flight", protocol="grpc") == 0)
        assert server.stop() == 0
        refusal = refused(lambda: next(answers))
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.message == "the server is shutting down; every message before was answered"
        assert refusal.metadata["grpc-retry-pushback-ms"] == "1000"
        messages.put(None)
        assert not any("ERROR" in line or "Traceback" in line for line in server.log)


def test_stream_of_a_caller_that_keeps_sending() -> None:
    """At shutdown, a stream whose caller keeps sending is ended after its earlier messages are answered."""
    with ServerProcess("--shutdown-timeout", str(2 * int(PATIENCE))) as server, connect(server) as channel:
        answers = SentimentStub(channel).PredictStream(PredictRequest(text="x") for _ in itertools.count())
        assert next(answers).tokens == 2
        server.process.send_signal(signal.SIGTERM)
        assert refused(lambda: deque(answers, maxlen=0)).code is grpc.StatusCode.UNAVAILABLE
        assert server.stop() == 0


def test_body_limit_holds() -> None:
    """--max-body-bytes also limits messages, and a message of exactly that size is accepted."""
    with ServerProcess("--max-body-bytes", "1000") as server, connect(server) as channel:
        stub = SentimentStub(channel)
        message = PredictRequest(text="x" * 997)
        assert message.ByteSize() == 1000
        assert stub.Predict(message).tokens == 2
        assert refused(lambda: stub.Predict(PredictRequest(text="x" * 998))).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert metric(server, "sentiment_texts_total", model="imdb-cnn") == 1


def test_access_log() -> None:
    """The access log has a line for every call, for every method and outcome."""
    with ServerProcess("--access-log", "--workers", "1") as server, Caller(server.grpc_port) as caller:
        assert caller.call(PREDICT, ONE).status == 0
        assert caller.call(PREDICT, b"\xff").status == 3
        assert caller.call(HEALTH_CHECK, b"").status == 0
        assert caller.call("/no/such%0Aline", b"").status == 12
        assert caller.call(SERVER_READY, b"").status == 0
        watch = caller.begin(HEALTH_WATCH)
        caller.data(watch, message(b""))
        assert caller.next_frame() is not None
        caller.send(wire.reset(watch))
        for path, status in (
            (PREDICT, "OK"),
            (PREDICT, "INVALID_ARGUMENT"),
            (HEALTH_CHECK, "OK"),
            ("/no/such%250Aline", "UNIMPLEMENTED"),
            (SERVER_READY, "OK"),
            (HEALTH_WATCH, "CANCELLED"),
        ):
            line = server.wait_for_log(rf".*INFO.*gRPC {path} .*status={status}.*")[0]
            assert "client=127.0.0.1" in line and "milliseconds=" in line


def test_failures_are_logged() -> None:
    """Without an access log, only failures of the service are logged, such as its own timeout."""
    with ServerProcess("--workers", "1", "--request-timeout", "0.0001") as server, Caller(server.grpc_port) as caller:
        assert caller.call(PREDICT, b"\xff").status == 3
        assert caller.call(PREDICT, ONE, {"grpc-timeout": "0S"}).status == 4
        assert caller.call(PREDICT_BATCH, MANY, {"grpc-timeout": "1H"}).status == 4
        server.wait_for_log(rf".*ERROR.*gRPC {PREDICT_BATCH} .*status=DEADLINE_EXCEEDED.*")
        assert len([line for line in server.log if "gRPC /" in line]) == 1


def test_burst_of_deadlines() -> None:
    """A client whose deadlines pass while the worker is busy keeps its connection, and its other calls go on."""
    with ServerProcess("--workers", "1") as server, connect(server) as channel:
        stub = SentimentStub(channel)
        texts: queue.SimpleQueue[PredictRequest | None] = queue.SimpleQueue()
        answers = stub.PredictStream(iter(texts.get, None), timeout=PATIENCE)
        texts.put(PredictRequest(text="one"))
        next(answers)
        [worker] = children(server.process.pid)
        pause(worker)
        for _ in range(4):
            late = [stub.Predict.future(PredictRequest(text="one"), timeout=0.1) for _ in range(100)]
            assert {call.code() for call in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        os.kill(worker, signal.SIGCONT)
        texts.put(PredictRequest(text="one"))
        texts.put(None)
        assert next(answers).tokens == stub.Predict(PredictRequest(text="one"), timeout=PATIENCE).tokens
        assert list(answers) == []
        assert metric(server, "sentiment_connections_failed_total", protocol="grpc", reason="limit") == 0


def test_deadlines_of_clients_are_no_errors() -> None:
    """A time limit that the client set, as a deadline or a parameter, is in the access log, and not as an error."""
    with ServerProcess("--workers", "1", "--access-log") as server, Caller(server.grpc_port) as caller:
        infer = text_request(*["word " * 5] * 512)
        infer.parameters["timeout"].int64_param = 1
        answers = [
            caller.call(PREDICT, ONE, {"grpc-timeout": "0S"}),
            caller.call(PREDICT_BATCH, MANY, {"grpc-timeout": "100u"}),
            caller.call(MODEL_INFER, infer.SerializeToString()),
        ]
        assert [answer.status for answer in answers] == [4] * 3, answers
        for path in (PREDICT, PREDICT_BATCH, MODEL_INFER):
            server.wait_for_log(rf".*INFO.*gRPC {path} .*status=DEADLINE_EXCEEDED.*")
        assert [line for line in server.log if "ERROR" in line] == []


def test_limit_of_watches(server: ServerProcess) -> None:
    """A connection can watch health a limited number of times, and the limit applies per connection."""
    with Caller(server.grpc_port) as caller, Caller(server.grpc_port) as other:
        for _ in range(8):
            watch = caller.begin(HEALTH_WATCH)
            caller.data(watch, message(b""))
        refused = caller.call(HEALTH_WATCH, b"")
        assert refused.status == 8
        assert refused.fields["grpc-message"] == "8 calls of this connection are watching, which is the limit"
        caller.send(wire.reset(watch))
        for each in (caller, other):
            watch = each.begin(HEALTH_WATCH, {"grpc-timeout": "50m"})
            each.data(watch, message(b""))
            assert each.answer(watch).status == 4


@pytest.mark.parametrize(("path", "complete"), [(attack.WATCH, True), (attack.CHECK, False)])
def test_memory_of_strangers(path: bytes, complete: bool) -> None:
    """Open calls without a key hold little: strangers could fill the memory for the requests of others with them."""
    fields = attack.literal(b"authorization", b"x" * 6000), attack.literal(b"grpc-accept-encoding", b"x" * 6000)
    head, content = attack.block(path, *fields), attack.data(1, message(b""), ended=True)
    calls = [attack.headers(number, head) for number in attack.streams(100, 3)]

    async def check() -> None:
        loop = asyncio.get_running_loop()
        connection: Any = grpc_connection()
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            await loop.connect_accepted_socket(lambda: connection, ours)
            await loop.sock_sendall(theirs, attack.HELLO + attack.headers(1, head) + (content if complete else b""))
            received, refused = bytearray(), 0
            await loop.sock_sendall(theirs, b"".join(calls))
            while refused < 92:  # the others get HTTP's head alone, or nothing
                received += await loop.sock_recv(theirs, 65_536)
                refused += sum("END_STREAM" in each.flags for each in attack.frames(received))
            assert 4 * CALL_BYTES <= connection._buffers.held < 9 * CALL_BYTES
            connection.transport.abort()

    uvloop.run(check())


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("path", [HEALTH_CHECK, HEALTH_WATCH, SERVER_READY, REFLECTION])
def test_large_requests_without_texts(server: ServerProcess, path: str, compressed: bool) -> None:
    """What has no texts is short. Strangers could let others wait for parsing and decompression otherwise."""
    content = b"\xa2\x06\0" * 6000  # unknown fields
    data = attack.message(gzip.compress(content), compressed=True) if compressed else message(content)
    with Caller(server.grpc_port) as caller:
        stream = caller.begin(path, {"grpc-encoding": "gzip"})
        caller.data(stream, data[:10_000], ended=len(data) <= 10_000)
        if len(data) > 10_000:
            caller.data(stream, data[10_000:])
        refused = caller.answer(stream)
        assert refused.status == 8
        reason = "the decompressed content has more than 16384 bytes" if compressed else "a message has 18000 bytes"
        assert refused.fields["grpc-message"].startswith(reason)


def test_compressed_answer(server: ServerProcess) -> None:
    """A large answer is compressed for a client that accepts it, and has the same content."""
    batch = PredictBatchRequest(texts=["A great film."] * 1000).SerializeToString()
    with Caller(server.grpc_port) as caller:
        caller.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 10**6)) + wire.window(0, 10**6))
        plain = caller.call(PREDICT_BATCH, batch)
        packed = caller.call(PREDICT_BATCH, batch, {"grpc-accept-encoding": "identity,deflate,gzip"})
    assert "grpc-encoding" not in plain.fields and packed.fields["grpc-encoding"] == "gzip"
    assert gzip.decompress(packed.messages[0]) == plain.messages[0]
    assert len(packed.messages[0]) < len(plain.messages[0]) / 2


def test_details_of_a_refusal(stub: SentimentStub) -> None:
    """A refusal has machine-readable details: the reason, the request id, and when to retry."""
    refusal = refused(lambda: stub.Predict(PredictRequest(text="x", model="none"), metadata=[("x-request-id", "mine")]))
    status = RpcStatus.FromString(refusal.metadata["grpc-status-details-bin"])
    assert (status.code, status.message) == (refusal.code.value[0], refusal.message)
    info, request = ErrorInfo(), RequestInfo()
    assert status.details[0].Unpack(info) and status.details[1].Unpack(request)
    assert (info.domain, request.request_id) == ("sentiment-conv1d", "mine")
    assert info.reason.isupper() and len(status.details) == 2
