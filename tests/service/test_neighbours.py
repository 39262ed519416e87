"""A caller that uses up the limits of a worker is refused first, and others are answered."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import PATIENCE, ServerProcess, eventually
from tests.service.grpc.channels import connect
from tests.service.rest.raw import Connection, request
from tests.service.telemetry.test_metrics import metric
from tests.service.test_slow_callers import reader

GREEDY, OTHER = "greedy-key-0123456789", "another-key-0123456789"

#: Bytes of a body. Six of them fill the memory of a worker.
BODY = 400_000


@pytest.fixture
def keyed(tmp_path: Path) -> Path:
    """Write a file with two keys, one of which has a name."""
    file = tmp_path / "keys"
    file.write_text(f"nightly {GREEDY}\n{OTHER}\n")
    return file


def batch(texts: int) -> bytes:
    """Return a request with some texts of 960 characters."""
    return json.dumps({"texts": ["a good film " * 80] * texts}).encode()


def test_unfinished_bodies(keyed: Path) -> None:
    """While six unfinished bodies of one key hold all memory, another key is answered over both protocols."""
    limits = ("--max-body-bytes", str(BODY), "--max-buffered-bytes", str(6 * 5 * BODY))
    with (
        ServerProcess("--workers", "1", "--api-key-file", str(keyed), "--open-metrics", *limits) as server,
        ExitStack() as stack,
        connect(server) as channel,
    ):
        greedy = [stack.enter_context(Connection(server.port)) for _ in range(6)]
        worker = int(Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text())
        for connection in greedy:
            connection.post("/v1/predict_batch", bytes(BODY - 1), f"X-API-Key: {GREEDY}", length=BODY)
            connection.wait_until_read(worker)
        answered = server.client.post("/v1/predict_batch", content=batch(100), headers={"x-api-key": OTHER})
        assert answered.status_code == 200
        assert greedy[5].answer().status == 429, "the latest one is refused"
        texts = PredictBatchRequest(texts=["a good film " * 80] * 100)
        assert len(SentimentStub(channel).PredictBatch(texts, metadata=[("x-api-key", OTHER)]).predictions) == 100
        server.wait_for_log(
            "rejected a request: the requests of this caller hold most of the memory.*caller=key nightly"
        )
        greedy[0].send(b"]")
        assert greedy[0].answer().status == 400, "its other requests go on"
        assert metric(server, "sentiment_key_refused_total", key="nightly") == 1
        assert metric(server, "sentiment_key_requests_total", key="2") == 2


def test_unread_inspections(keyed: Path) -> None:
    """An inspection that may not fit is refused before it is computed, unless another caller holds most of the memory.

    Each holds 1.5 MB while it is not read, and is charged with 1.9 MB before.
    """
    body = json.dumps({"text": "good", "feature_map": True}).encode()
    limits = ("--no-grpc", "--max-body-bytes", "10000", "--max-buffered-bytes", "6200000")
    with (
        ServerProcess("--workers", "1", "--api-key-file", str(keyed), "--open-metrics", *limits) as server,
        ExitStack() as stack,
    ):
        statuses = []
        for _ in range(4):
            greedy = stack.enter_context(reader(server.port))
            greedy.sendall(request("/v1/inspect", f"X-API-Key: {GREEDY}", f"Content-Length: {len(body)}") + body)
            statuses.append(greedy.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL))
        assert statuses == [b"HTTP/1.1 200"] * 3 + [b"HTTP/1.1 429"]
        server.wait_for_log("rejected a request: requests would hold .*caller=key nightly")
        eventually(lambda: metric(server, "sentiment_texts_total") == 3)

        def answered() -> bool:
            answer = server.client.post("/v1/inspect", content=body, headers={"x-api-key": OTHER})
            assert answer.status_code in (200, 429), answer.text
            return answer.status_code == 200

        eventually(answered)


@contextmanager
def repeating(server: ServerProcess, content: bytes, connections: int, *headers: str) -> Iterator[None]:
    """Send batches on some connections, each as soon as the one before is answered, until the end of the block."""
    ended = threading.Event()
    message = request("/v1/predict_batch", *headers, f"Content-Length: {len(content)}") + content

    def repeat() -> None:
        with Connection(server.port) as connection:
            while not ended.is_set():
                connection.send(message)
                connection.answer()

    threads = [threading.Thread(target=repeat) for _ in range(connections)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(PATIENCE)


def test_compressed_batches(keyed: Path) -> None:
    """Small compressed bodies count as the texts that they expand to, and leave room for batches of another key."""
    body = gzip.compress(json.dumps({"texts": [""] * 1024}).encode())
    assert len(body) < 200
    with (
        ServerProcess("--workers", "1", "--api-key-file", str(keyed), "--no-grpc") as server,
        repeating(server, body, 8, f"X-API-Key: {GREEDY}", "Content-Encoding: gzip"),
    ):
        server.wait_for_log("rejected a request: .* texts are waiting.*caller=key nightly")
        headers = {"x-api-key": OTHER, "content-encoding": "gzip"}
        for _ in range(5):
            assert server.client.post("/v1/predict_batch", content=body, headers=headers).status_code == 200


def test_closed_loop_of_many_connections() -> None:
    """A client on 64 connections that asks again at once does not keep another address from being answered."""
    limits = ("--max-pending-texts", "512", "--max-batch-texts", "32")
    with ServerProcess("--workers", "1", "--no-grpc", *limits) as server, repeating(server, batch(32), 64):
        server.wait_for_log("rejected a request: .*127.0.0.1")
        transport = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(base_url=server.url, timeout=PATIENCE, transport=transport) as client:
            for _ in range(10):
                assert client.post("/v1/predict_batch", content=batch(32)).status_code == 200
