"""A low limit of open files reduces the number of connections or prevents the start."""

import os
import signal
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest

from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.proc import children
from tests.processes import PATIENCE, ServerProcess, pause, run
from tests.service.grpc.channels import connect

LIMITED = "sh -c 'ulimit -n 64; exec \"$@\"' sh"


def open_connections(server: ServerProcess, stack: ExitStack, count: int) -> list[HTTPConnection]:
    """Open a number of concurrent connections."""
    opened = [HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE) for _ in range(count)]
    for connection in opened:
        stack.callback(connection.close)
        connection.connect()
    return opened


def ask(connections: list[HTTPConnection]) -> set[int]:
    """Return the statuses of requests that are sent on all connections before any answer is read."""
    for connection in connections:
        connection.request("GET", "/livez")
    answers = [connection.getresponse() for connection in connections]
    return {answer.status for answer in answers if answer.read()}


def test_low_limit() -> None:
    """With a limit of 64 open files, a worker serves twenty concurrent REST connections and gRPC beside them."""
    with ServerProcess("--workers", "1", prefix=LIMITED) as process, ExitStack() as stack:
        process.wait_for_log("the system allows 64 open files: there will be fewer connections max_connections=21")
        stub = SentimentStub(stack.enter_context(connect(process)))
        held = open_connections(process, stack, 20)
        for _ in range(2):
            assert ask(held) == {200}
            assert stub.Predict(PredictRequest(text="A great film.")).label == "positive"
        # Many more take the places of idle ones, and the process stays within its limit.
        assert ask(open_connections(process, stack, 99)[-20:]) == {200}
        assert not [line for line in process.log if "ERROR" in line]


def test_low_limit_with_waiting_connections() -> None:
    """The limit also applies to connections in a worker's channel, except for root, and the others wait."""
    prefix = f"setpriv --inh-caps=-all --bounding-set=-all {LIMITED}" if os.geteuid() == 0 else LIMITED
    with ServerProcess("--workers", "1", prefix=prefix) as process, ExitStack() as stack:
        [worker] = children(process.process.pid)
        pause(worker)
        waiting = open_connections(process, stack, 150)
        for connection in waiting:
            connection.request("GET", "/livez")
        os.kill(worker, signal.SIGCONT)
        assert {connection.getresponse().status for connection in waiting} <= {200, 503}
        assert children(process.process.pid) == [worker]


@pytest.mark.parametrize(("limit", "workers", "least"), [("63", "2", "64"), ("100", "80", "112")])
def test_limit_that_is_too_low(limit: str, workers: str, least: str) -> None:
    """If the limit is too low for a worker or for the supervisor, the service does not start and says what it needs."""
    command = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
os.execv(sys.executable, [sys.executable, "-m", "service", "serve", "--workers", "{workers}"])
"""
    result = run("-c", command)
    assert result.returncode == 2
    assert f"allows a process {limit} open files, and {workers} workers need at least {least}" in result.stderr


def test_closed_standard_streams() -> None:
    """A service without standard input and output opens nothing else in their place."""
    with ServerProcess("--workers", "1", prefix="sh -c 'exec \"$@\" <&- >&-' sh") as server:
        for pid in (server.process.pid, *children(server.process.pid)):
            assert all(Path(f"/proc/{pid}/fd/{each}").samefile(os.devnull) for each in (0, 1))
