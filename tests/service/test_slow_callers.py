"""Slow and idle callers are limited and do not delay others."""

from __future__ import annotations

import gzip
import json
import random
import selectors
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest

from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.server.http.connection import MAX_PIPELINED
from sentiment_conv1d.server.http.parser import MAX_HEAD_BYTES
from sentiment_conv1d.server.network.buffers import BODY_FACTOR
from sentiment_conv1d.service.protocols.native.grpc import PREDICT
from sentiment_conv1d.stubs import SentimentStub
from tests.proc import children, connections
from tests.processes import PATIENCE, ServerProcess, eventually
from tests.service.grpc import wire
from tests.service.grpc.channels import connect
from tests.service.grpc.raw import Caller
from tests.service.rest.raw import Connection, error, request

GOOD = b'{"text": "A great film."}'
HELLO = wire.PREFACE + wire.settings()  # of HTTP/2
BATCH = json.dumps({"texts": ["a"] * 1024}).encode()


@contextmanager
def sockets(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Open a number of connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)) for _ in range(count)]


def assert_works(server: ServerProcess) -> None:
    """Assert that a new connection gets an answer."""
    answer = httpx.post(f"{server.url}/v1/predict", content=GOOD, timeout=PATIENCE, trust_env=False)
    assert answer.status_code == 200, answer.text


def wait_until_closed(server: ServerProcess, connections: Sequence[socket.socket], drip: bytes) -> int:
    """Send a byte on every connection repeatedly until all are closed. Returns the requests answered meanwhile."""
    answered = 0
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(0):
                selector.unregister(key.fileobj)
            for key in list(selector.get_map().values()):
                with suppress(OSError):
                    socket.socket.send(key.fileobj, drip)  # type: ignore[arg-type]
            assert_works(server)
            answered += 1
    return answered


def test_a_thousand_slow_heads() -> None:
    """A thousand connections with heads that arrive byte by byte are closed, and delay nobody."""
    with (
        ServerProcess("--header-timeout", "1") as server,
        sockets(server.port, 1000) as connections,
    ):
        for connection in connections:
            connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: test\r\nX: ")
        assert wait_until_closed(server, connections, b"x") > 0


def test_slow_bodies() -> None:
    """A thousand connections with bodies that arrive byte by byte are closed, and delay nobody."""
    with (
        ServerProcess("--body-timeout", "1", "--workers", "1") as server,
        sockets(server.port, 200) as connections,
    ):
        for connection in connections:
            connection.sendall(request("/v1/predict", "Content-Length: 100000"))
        assert wait_until_closed(server, connections, b"x") > 0


def test_idle_connections_make_room() -> None:
    """Without keys, a new connection replaces others at the limit, whether they have sent requests before or not."""
    with ServerProcess("--max-connections", "20", "--workers", "1") as server, ExitStack() as stack:
        for number in range(60):
            connection = stack.enter_context(Connection(server.port))
            connection.send(b"" if number % 3 else b"GET /livez HTTP/1.1\r\n")
            if number % 3 == 1:
                connection.post("/v1/predict", GOOD)
                assert connection.answer().status == 200
        assert_works(server)
        server.wait_for_log(r"there are too many connections protocol=rest evicted=\d+$")


def test_connections_below_the_limit() -> None:
    """Below the limit no connection is rejected, however fast connections come and go."""
    with ServerProcess("--max-connections", "3", "--workers", "1") as server:
        for _ in range(100):
            with ExitStack() as stack:
                three = [stack.enter_context(Connection(server.port)) for _ in range(3)]
                for connection in three:
                    connection.post("/v1/predict", GOOD)
                assert [connection.answer().status for connection in three] == [200] * 3
                for connection in three:
                    connection.post("/v1/predict", GOOD, "Connection: close")
                    assert connection.answer().status == 200
                    assert connection.is_closed()
    assert not [line for line in server.log if "too many" in line]


def test_connections_of_one_address() -> None:
    """The limit per address applies to each address separately."""
    flags = ("--max-connections-per-address", "2", "--host", "0.0.0.0", "--workers", "1")
    with ServerProcess(*flags) as server, ExitStack() as stack:
        first, second = (stack.enter_context(Connection(server.port)) for _ in range(2))
        for connection in (first, second):
            connection.post("/v1/predict", GOOD)
            assert connection.answer().status == 200
        with Connection(server.port) as further:
            assert further.answer().status == 503
        other = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE, ("127.0.0.2", 0)))
        other.sendall(request("/livez", method="GET"))
        assert other.recv(100).startswith(b"HTTP/1.1 200 ")
        server.wait_for_log(r"there are too many connections protocol=rest address=1$")
        first.end()

        def takes_another() -> bool:
            with Connection(server.port) as again:
                again.post("/v1/predict", GOOD)
                return again.answer().status == 200

        eventually(takes_another)


def reader(port: int) -> socket.socket:
    """Open a connection that reads slowly."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", port))
    return connection


@pytest.mark.parametrize(
    "ask",
    [
        request("/v1/predict_batch", f"Content-Length: {len(BATCH)}") + BATCH,
        request("/v1/predict_batch?over=asgi", f"Content-Length: {len(BATCH)}") + BATCH,
    ],
    ids=["fast path", "asgi"],
)
def test_unread_answers(ask: bytes) -> None:
    """A client that sends many requests and reads no response is disconnected."""
    with ServerProcess("--write-timeout", "1", "--workers", "1") as server, reader(server.port) as connection:
        connection.setblocking(False)
        with suppress(OSError):  # its buffer is full, or it is already disconnected
            for _ in range(1 + MAX_PIPELINED):
                connection.sendall(ask)
        assert_works(server)
        server.wait_for_log("a caller did not read its answer in time")
        assert_works(server)


def test_answer_that_is_read_slowly(server: ServerProcess) -> None:
    """A large answer that is read piece by piece arrives completely."""
    with reader(server.port) as connection:
        connection.sendall(request("/v1/predict_batch", "Connection: close", f"Content-Length: {len(BATCH)}") + BATCH)
        received = bytearray()
        while piece := connection.recv(1500):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(json.loads(body)["predictions"]) == 1024


@pytest.mark.parametrize("size", [400_000, 40_000])
def test_memory_for_slow_bodies(size: int) -> None:
    """The memory of unfinished bodies is limited: requests over the limit are refused, and others continue."""
    limit = str(BODY_FACTOR * size * 5 // 2)
    limits = ("--max-buffered-bytes", limit, "--max-body-bytes", str(2 * size))
    with ServerProcess(*limits, "--workers", "1") as server, ExitStack() as stack:
        [worker] = children(server.process.pid)
        slow = [stack.enter_context(Connection(server.port)) for _ in range(2)]
        for connection in slow:
            connection.post("/v1/predict", GOOD + b" " * size, length=len(GOOD) + size + 1)
            connection.wait_until_read(worker)
        with Connection(server.port) as further:
            further.post("/v1/predict", GOOD + b" " * size, length=len(GOOD) + size + 1)
            answer = further.answer()
            assert (answer.status, error(answer).code) == (429, "overloaded")
        for connection in slow:
            connection.send(b" ")
            assert connection.answer().status == 200
        with Connection(server.port) as again:
            again.post("/v1/predict", GOOD + b" " * size)
            assert again.answer().status == 200


@pytest.mark.parametrize("size", [400_000, 40_000])
def test_memory_for_decompressed_bodies(size: int) -> None:
    """The decompressed bytes of a body count, and it is refused before all of them are in memory."""
    limit = str(BODY_FACTOR * size)
    with (
        ServerProcess("--max-buffered-bytes", limit, "--max-body-bytes", str(size - 4000), "--workers", "1") as server,
        Connection(server.port) as slow,
        Connection(server.port) as connection,
    ):
        slow.post("/v1/predict", b" " * (size // 2), length=size // 2 + len(GOOD))
        slow.wait_until_read(*children(server.process.pid))
        for added, status in ((size // 4, 200), (size * 3 // 4, 429)) * 2:
            padding = bytes(random.Random(1).choices(b" \t\r\n", k=added))  # which compresses to a quarter
            connection.post("/v1/predict", gzip.compress(GOOD + padding), "Content-Encoding: gzip")
            assert connection.answer().status == status


def test_memory_for_heads() -> None:
    """A large head counts like a body, and the small head of a health check is never refused for memory."""
    limits = ("--max-buffered-bytes", "28500", "--max-body-bytes", "3600")
    with ServerProcess(*limits, "--workers", "1") as server, ExitStack() as stack:
        slow = stack.enter_context(Connection(server.port))
        slow.post("/v1/predict", b" " * 3500, length=3500 + len(GOOD))
        slow.wait_until_read(*children(server.process.pid))
        for path, body in (("/v1/predict", b"{"), ("/livez", b"")):
            large = stack.enter_context(Connection(server.port))
            large.send(request(path, f"X: {'a' * 8000}", "Content-Length: 100") + body)
            assert large.answer().status == 429
        assert server.client.get("/livez").status_code == 200
        slow.send(GOOD)
        assert slow.answer().status == 200


@pytest.mark.parametrize("answered", ["/livez", "/v1/no-such-route"])
def test_body_after_an_early_answer(server: ServerProcess, answered: str) -> None:
    """A connection is closed if a body continues for too long after an early answer."""
    with Connection(server.port) as connection:
        connection.send(request(answered, "Transfer-Encoding: chunked", method="GET"))
        assert connection.answer().status in (200, 404)
        with pytest.raises(OSError):
            while True:
                connection.send(b"1\r\na\r\n")
                assert_works(server)


def test_trailers_without_end(server: ServerProcess) -> None:
    """Endless trailers after a body are not collected."""
    with Connection(server.port) as connection:
        connection.send(request("/v1/predict", "Transfer-Encoding: chunked"), b"2\r\n{}\r\n0\r\n")
        connection.send(b"a:b\r\n" * (MAX_HEAD_BYTES + 1))
        assert connection.answer().status == 431
        assert connection.is_closed()
    assert_works(server)


def test_requests_in_advance(server: ServerProcess) -> None:
    """Pipelined requests up to the limit are answered, and a client that sends more is disconnected."""
    ask = request("/v1/predict", f"Content-Length: {len(GOOD)}") + GOOD
    with Connection(server.port) as connection:
        connection.send(ask * (1 + MAX_PIPELINED))
        assert [connection.answer().status for _ in range(1 + MAX_PIPELINED)] == [200] * (1 + MAX_PIPELINED)
    with Connection(server.port) as connection:
        connection.send(ask * 5000)
        assert connection.is_closed()
    assert_works(server)


def test_few_file_descriptors() -> None:
    """If the system allows too few open files, the service logs how many connections it accepts, and works."""
    with ServerProcess("--workers", "1", prefix="prlimit --nofile=300:300") as server:
        server.wait_for_log(r"the system allows 300 open files: .* max_connections=114 grpc_max_connections=57")
        with sockets(server.port, 400), sockets(server.grpc_port, 100):
            assert_works(server)
        with connect(server) as channel:
            stub = SentimentStub(channel)
            assert stub.Predict(PredictRequest(text="x"), timeout=PATIENCE, wait_for_ready=True).tokens == 2
        assert not [line for line in server.log if " ERROR " in line]


def test_soft_limit_of_file_descriptors() -> None:
    """The service raises its soft limit of open files as far as necessary."""
    with ServerProcess("--workers", "1", prefix="prlimit --nofile=256:") as server:
        assert not [line for line in server.log if "open files" in line]
        with sockets(server.port, 400):
            assert_works(server)


def test_idle_grpc_connections_make_room() -> None:
    """Over gRPC, connections over the limit replace those without a running call, and clients that answer no pings."""
    with (
        ServerProcess("--grpc-max-connections", "3", "--workers", "1") as server,
        sockets(server.grpc_port, 2),
        Caller(server.grpc_port) as idle,
    ):
        assert idle.call(PREDICT, PredictRequest(text="x").SerializeToString()).status == 0
        for _ in range(5):
            with connect(server, use_local_subchannel_pool=1) as further:
                assert SentimentStub(further).Predict(PredictRequest(text="x")).tokens == 2


def test_grpc_connections_below_the_limit() -> None:
    """Up to the limit no connection is rejected, however fast connections arrive."""
    with ServerProcess("--grpc-max-connections", "3", "--workers", "1") as server:
        [worker] = children(server.process.pid)
        for _ in range(100):
            with sockets(server.grpc_port, 3) as three:
                for connection in three:
                    connection.sendall(HELLO)
                assert all(connection.recv(1) for connection in three)
            eventually(lambda: connections(worker, server.grpc_port) == 0)
    assert not [line for line in server.log if "too many" in line]


def test_grpc_caller_that_answers_no_pings() -> None:
    """A gRPC connection that answers no pings is closed, with any calls."""
    with ServerProcess("--write-timeout", "1", "--workers", "1") as server, sockets(server.grpc_port, 1) as [silent]:
        silent.sendall(HELLO)
        while silent.recv(1000):
            pass
        with connect(server) as channel:
            assert SentimentStub(channel).Predict(PredictRequest(text="x")).tokens == 2
