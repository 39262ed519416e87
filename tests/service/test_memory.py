"""The memory that callers can make a worker hold."""

import gzip
import json
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
import pytest

from tests.proc import Peak, children, proportional_megabytes
from tests.processes import MODEL_REPOSITORY, PATIENCE, ServerProcess
from tests.service.rest.raw import Connection, request

GOOD = b'{"text": "A great film."}'


def memory_peak(server: ServerProcess) -> Peak:
    """Return a record of the memory of a server and its workers."""
    return Peak(lambda: proportional_megabytes(server.process.pid, "Pss:"))


def assert_works(server: ServerProcess) -> None:
    """Assert that a small request on a new connection is answered."""
    with Connection(server.port) as connection:
        connection.post("/v1/predict", GOOD)
        assert connection.answer().status == 200


def test_large_requests_fit_into_the_shipped_limit() -> None:
    """80 callers with 8 MB each are answered or refused by two workers within 1 GiB, and no worker is replaced."""
    body = json.dumps({"texts": ["a great film " * 630] * 1000}).encode()
    with ServerProcess("--workers", "2", repository=MODEL_REPOSITORY) as server, memory_peak(server) as peak:
        workers = children(server.process.pid)

        def call(_: int) -> list[int]:
            statuses = []
            for _ in range(2):
                with Connection(server.port) as connection:
                    with suppress(OSError):  # the body was refused, and its rest is not read forever
                        connection.post("/v1/predict_batch", body)
                    answer = connection.answer()
                assert answer.status == 200 or "retry-after" in answer.headers
                statuses.append(answer.status)
            return statuses

        with ThreadPoolExecutor(80) as pool:
            statuses = Counter(status for each in pool.map(call, range(80)) for status in each)
        assert children(server.process.pid) == workers
    assert statuses.keys() == {200, 429}
    assert peak.megabytes < 1024


def test_very_many_parts() -> None:
    """Millions of empty values, even compressed to 8 kB, are refused with the limit and take hardly any memory."""
    documents = {
        "/v1/predict": b"{" + b",".join(b'"%x":0' % number for number in range(700_000)) + b"}",
        "/v1/predict_batch": b'{"texts":[' + b"{}," * 2_700_000 + b"{}]}",
        "/v2/models/imdb-cnn/infer": b'{"inputs":[{"data":[' + b"[]," * 2_700_000 + b"[]]}]}",
        "/v1/models/imdb-cnn:predict": b'{"instances":[' + b"[]," * 2_700_000 + b"[]]}",
        "/invocations": b'{"inputs":[' + b"[]," * 2_700_000 + b"[]]}",
    }
    messages = {
        "/inference.GRPCInferenceService/ModelInfer": b"\x2a\0" * 4_190_000,
        "/sentiment.v1.Sentiment/PredictBatch": b"\x0a\0" * 4_190_000,
    }
    with ServerProcess("--workers", "1") as server, memory_peak(server) as peak:
        for path, body in documents.items():
            for content, encoding in ((body, "identity"), (gzip.compress(body), "gzip")):
                answer = server.client.post(path, content=content, headers={"Content-Encoding": encoding})
                assert answer.status_code in (400, 413, 422)
                if encoding == "identity":
                    assert "more than 16384" in answer.text
                else:
                    assert "expand to more than" in answer.text or "more than 16384" in answer.text
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            for path, content in messages.items():
                method: Any = channel.unary_unary(path)
                # Repeated, so that memory that a refusal keeps would add up.
                for error in [method.future(content).exception() for _ in range(20)]:
                    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
                    assert "more than 16384 fields" in error.details()
    assert peak.megabytes < peak.before + 100


#: The start of endless requests, and the piece that follows it repeatedly.
ENDLESS = {
    "request line": (b"GET /", b"a"),
    "header name": (b"GET /livez HTTP/1.1\r\nHost: test\r\n", b"a"),
    "header value": (b"GET /livez HTTP/1.1\r\nHost: test\r\nX: ", b"a"),
    "headers": (b"GET /livez HTTP/1.1\r\nHost: test\r\n", b"a:b\r\n"),
    "chunk extension": (request("/v1/predict", "Transfer-Encoding: chunked") + b"1;", b"a"),
    "trailer": (request("/livez", "Transfer-Encoding: chunked", method="GET") + b"0\r\nX-A: ", b"a"),
    "trailer on the fast path": (
        request("/v1/predict", "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\nX-A: ",
        b"a",
    ),
    "trailers": (request("/livez", "Transfer-Encoding: chunked", method="GET") + b"0\r\n", b"a:b\r\n"),
    "body that is not read": (request("/livez", "Transfer-Encoding: chunked", method="GET"), b"4\r\naaaa\r\n"),
    "requests": (b"", request("/livez", method="GET")),
}


@pytest.mark.parametrize("start", ENDLESS)
def test_endless_requests(start: str) -> None:
    """A connection with any endless part of a request is closed, and memory and other callers are not affected."""
    begin, piece = ENDLESS[start]
    pieces = piece * (2**20 // len(piece))

    def send(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection, suppress(OSError):
            connection.sendall(begin)
            while True:
                connection.sendall(pieces)

    with ServerProcess("--workers", "1", "--no-grpc") as server, ThreadPoolExecutor() as pool:
        assert_works(server)
        with memory_peak(server) as peak:
            sending = [pool.submit(send, server.port) for _ in range(4)]
            while not all(each.done() for each in sending):
                assert_works(server)
    assert peak.megabytes - peak.before < 32
