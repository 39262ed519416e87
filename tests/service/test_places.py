"""Who gets a connection if all places are taken."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial

import grpc
import pytest

from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.service.protocols.native.grpc import PREDICT
from sentiment_conv1d.stubs import SentimentStub
from tests.proc import children, connections
from tests.processes import PATIENCE, ServerProcess, eventually, pause
from tests.service.grpc import wire
from tests.service.grpc.channels import connect, refused
from tests.service.grpc.raw import Caller, message
from tests.service.rest.raw import Connection, error, request

KEY = "a-key-of-a-caller-with-access"
ACCESS = f"X-API-Key: {KEY}"
GOOD = b'{"text": "A great film."}'

#: A request of which one byte is missing.
INCOMPLETE = request("/v1/predict", f"Content-Length: {len(GOOD)}") + GOOD[:-1]


def guarded(*flags: str) -> ServerProcess:
    """Start a server with one worker that requires a key."""
    return ServerProcess("--workers", "1", *flags, SENTIMENT_API_KEYS=KEY)


def begin(connection: Connection) -> None:
    """Send the head of a request, and wait until the service has read it."""
    connection.send(request("/v1/predict", ACCESS, "Expect: 100-continue", f"Content-Length: {len(GOOD)}"))
    assert connection.answer().status == 100


@pytest.mark.parametrize("first", ["further", "requests"])
def test_unread_request_is_not_idle(first: str) -> None:
    """A connection with access and a request that a busy worker has not read is not evicted."""
    with guarded("--max-connections", "6") as server, ExitStack() as stack:
        asking = [stack.enter_context(Connection(server.port)) for _ in range(3)]

        def ask() -> None:
            for connection in asking:
                connection.post("/v1/predict", GOOD, ACCESS)

        def come() -> None:
            for _ in range(20):
                stack.enter_context(Connection(server.port)).post("/v1/predict", GOOD, ACCESS)

        ask()
        assert [connection.answer().status for connection in asking] == [200] * 3
        [worker] = children(server.process.pid)
        pause(worker)
        for step in (come, ask) if first == "further" else (ask, come):  # the worker hears of them in this order
            step()
        os.kill(worker, signal.SIGCONT)
        assert [connection.answer().status for connection in asking] == [200] * 3
        eventually(lambda: connections(worker, server.port) <= 6)


def test_callers_above_the_limit() -> None:
    """A caller with a key gets a 503 if all connections with access are busy, can retry later, and delays no probe."""
    with guarded("--max-connections", "6") as server, ExitStack() as stack:
        busy = [stack.enter_context(Connection(server.port)) for _ in range(3)]
        for connection in busy:
            begin(connection)
        with Connection(server.port) as further:
            further.post("/v1/predict", GOOD, ACCESS)
            answer = further.answer()
            assert (answer.status, error(answer).code) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0
            assert further.is_closed()
        with Connection(server.port) as probe:
            probe.send(request("/readyz", ACCESS, method="GET"))
            assert probe.answer().status == 200
        server.wait_for_log(r"there are too many connections protocol=rest limit=1$")
        busy[0].send(GOOD)
        assert busy[0].answer().status == 200
        with Connection(server.port) as again:
            again.post("/v1/predict", GOOD, ACCESS)
            assert again.answer().status == 200
        assert busy[0].is_closed()
        for connection in busy[1:]:
            connection.send(GOOD)
            assert connection.answer().status == 200


def test_grpc_callers_above_the_limit() -> None:
    """Over gRPC, a call with a key ends with UNAVAILABLE if all connections with access have a call that runs."""
    with guarded("--grpc-max-connections", "2") as server, Caller(server.grpc_port) as busy:
        busy.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))
        stream = busy.begin(PREDICT, {"x-api-key": KEY})
        busy.data(stream, message(PredictRequest(text="x").SerializeToString()))
        while (each := busy.next_frame()) is not None and each.kind != "HEADERS":
            pass
        metadata = (("x-api-key", KEY),)
        with connect(server, use_local_subchannel_pool=1) as further:
            call = partial(
                SentimentStub(further).Predict, PredictRequest(text="x"), timeout=PATIENCE, metadata=metadata
            )
            assert refused(call).code is grpc.StatusCode.UNAVAILABLE
        busy.send(wire.window(stream, 1000))
        assert busy.answer(stream).status == 0
        with connect(server, use_local_subchannel_pool=1) as further:
            stub = SentimentStub(further)
            assert stub.Predict(PredictRequest(text="x"), timeout=PATIENCE, metadata=metadata).tokens == 2


def come(server: ServerProcess, stack: ExitStack, address: str, count: int) -> list[socket.socket]:
    """Connect from an address, and send an incomplete request on every connection."""
    opened = []
    for _ in range(count):
        opened.append(socket.create_connection(("127.0.0.1", server.port), PATIENCE, (address, 0)))
        stack.enter_context(opened[-1]).sendall(INCOMPLETE)
    return opened


def answered(opened: Sequence[socket.socket]) -> int:
    """Complete the requests, and return how many are answered."""
    count = 0
    for connection in opened:
        with suppress(ConnectionError):
            connection.sendall(GOOD[-1:])
            count += connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    return count


def test_one_address_without_keys() -> None:
    """Without keys, an address that fills every place with incomplete requests leaves half of them to another one."""
    with ServerProcess("--workers", "1", "--max-connections", "20") as server, ExitStack() as stack:
        come(server, stack, "127.0.0.1", 40)
        others = come(server, stack, "127.0.0.2", 10)
        come(server, stack, "127.0.0.1", 40)
        assert answered(others) == 10
