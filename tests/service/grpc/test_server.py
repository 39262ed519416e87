"""The gRPC port: taken or not, wanted or not, and how it closes."""

from __future__ import annotations

import itertools
import queue
import signal
import socket
from collections import deque
from typing import Any

import grpc
import pytest

from loadtest.stubs.sentiment_pb2_grpc import SentimentStub
from service.grpc.oip import MODEL_STREAM_INFER
from service.grpc.protos.sentiment_pb2 import PredictBatchRequest, PredictRequest
from service.grpc.sentiment import PREDICT_STREAM
from tests.processes import PATIENCE, ServerProcess, run
from tests.service.grpc.channels import connect, refused
from tests.service.rest.test_operations import scrape
from tests.service.test_metrics import value


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_port_taken() -> None:
    """A gRPC port that is taken ends the start with one sentence and status 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ("--host", "127.0.0.1", "--port", "0", "--grpc-port", str(port))
        result = run("-m", "service", "serve", *flags)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(f"error: cannot listen on 127.0.0.1:{port} for gRPC")
    assert "Traceback" not in result.stderr


def test_port_of_another_server(server: ServerProcess) -> None:
    """A second server does not share the first one's gRPC port."""
    flags = ("--host", "127.0.0.1", "--port", "0", "--grpc-port", str(server.grpc_port))
    result = run("-m", "service", "serve", *flags)
    assert result.returncode == 2
    assert f"cannot listen on 127.0.0.1:{server.grpc_port} for gRPC" in result.stderr


def test_no_grpc() -> None:
    """With --no-grpc nobody listens on the gRPC port, and REST is as ever."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ServerProcess("--no-grpc", "--grpc-port", str(port)) as server:
        assert not [line for line in server.log if "grpc://" in line]
        assert server.client.post("/v1/predict", json={"text": "x"}).json()["tokens"] == 2
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), PATIENCE)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6() -> None:
    """An IPv6 address serves both protocols."""
    with ServerProcess("--host", "::1") as server:
        assert [line for line in server.log if f"grpc://[::1]:{server.grpc_port}" in line]
        options = [("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(f"[::1]:{server.grpc_port}", options=options) as channel:
            assert SentimentStub(channel).Predict(PredictRequest(text="x")).tokens == 2


def test_running_calls_are_finished() -> None:
    """What runs when SIGTERM comes is answered whole; what comes later is turned away, and the status is 0."""
    with ServerProcess() as server, connect(server) as channel:
        stub = SentimentStub(channel)
        assert stub.Predict(PredictRequest(text="x")).tokens == 2
        texts: queue.SimpleQueue[PredictRequest | None] = queue.SimpleQueue()
        answers = stub.PredictStream(iter(texts.get, None), timeout=PATIENCE)
        texts.put(PredictRequest(text="x"))
        assert next(answers).tokens == 2
        batch = stub.PredictBatch.future(PredictBatchRequest(texts=["word " * 1600] * 1000), timeout=PATIENCE)
        texts.put(PredictRequest(text="x y"))
        assert next(answers).tokens == 3
        for number in range(3, 9):
            texts.put(PredictRequest(text="x " * number))
        server.process.send_signal(signal.SIGTERM)
        assert [next(answers).tokens for _ in range(3, 9)] == list(range(4, 10))
        texts.put(None)
        assert list(answers) == []
        assert [each.tokens for each in batch.result().predictions] == [1601] * 1000
        assert server.process.wait(PATIENCE) == 0
        assert refused(lambda: stub.Predict(PredictRequest(text="x"))).code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("method", [PREDICT_STREAM, MODEL_STREAM_INFER])
def test_idle_stream_is_ended(method: str) -> None:
    """A stream that waits for nothing but the caller is ended when the server leaves, which does not wait for it."""
    with ServerProcess("--shutdown-timeout", str(2 * int(PATIENCE))) as server, connect(server) as channel:
        messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        stream: Any = channel.stream_stream(method)
        answers = stream(iter(messages.get, None), timeout=PATIENCE)
        messages.put(b"")
        assert next(answers)
        assert server.stop() == 0
        refusal = refused(lambda: next(answers))
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.message == "the server is shutting down; every message before was answered"
        assert refusal.metadata["grpc-retry-pushback-ms"] == "1000"
        messages.put(None)
        assert "Traceback" not in "".join(server.log)


def test_stream_that_goes_on() -> None:
    """A stream whose caller never rests is ended as well, all its messages before answered."""
    with ServerProcess("--shutdown-timeout", str(2 * int(PATIENCE))) as server, connect(server) as channel:
        answers = SentimentStub(channel).PredictStream(PredictRequest(text="x") for _ in itertools.count())
        assert next(answers).tokens == 2
        server.process.send_signal(signal.SIGTERM)
        assert refused(lambda: deque(answers, maxlen=0)).code is grpc.StatusCode.UNAVAILABLE
        assert server.stop() == 0


def test_body_limit_holds() -> None:
    """--max-body-bytes is the limit of a message as well; one of exactly that size is taken."""
    with ServerProcess("--max-body-bytes", "1000") as server, connect(server) as channel:
        stub = SentimentStub(channel)
        message = PredictRequest(text="x" * 997)
        assert message.ByteSize() == 1000
        assert stub.Predict(message).tokens == 2
        assert refused(lambda: stub.Predict(PredictRequest(text="x" * 998))).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert value(scrape(server), "sentiment_texts_total", model="imdb-cnn") == 1
