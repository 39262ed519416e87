"""Callers with keep-alive connections lose no request at shutdown."""

import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
import urllib3

from sentiment_conv1d.server.http.connection import FAREWELL_SECONDS
from tests.proc import children
from tests.processes import PATIENCE, ServerProcess, eventually, pause
from tests.service.rest.raw import Connection, request

GOOD = b'{"text": "A great film."}'

#: Seconds between two requests of a caller, in which its connection is idle.
_THINKS = 0.02

#: Sends a request and returns the status.
Ask = Callable[[], int]


def with_httpx(server: ServerProcess) -> Ask:
    """A caller that uses httpx."""
    client = httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False)
    return lambda: client.post("/v1/predict", content=GOOD).status_code


def with_urllib3(server: ServerProcess) -> Ask:
    """A caller that uses urllib3, like requests, without retries."""
    pool = urllib3.HTTPConnectionPool("127.0.0.1", server.port, timeout=PATIENCE, retries=False)
    return lambda: pool.request("POST", "/v1/predict", body=GOOD).status


def by_hand(server: ServerProcess) -> Ask:
    """A caller that reconnects only after it has received `Connection: close`."""
    kept = ExitStack()
    connections: list[Connection] = []

    def ask() -> int:
        if not connections:
            connections.append(kept.enter_context(Connection(server.port)))
        connections[0].post("/v1/predict", GOOD)
        answer = connections[0].answer()
        if answer.headers.get("connection") == "close":
            kept.close()
            connections.clear()
        return answer.status

    return ask


def ask_until_refused(ask: Ask) -> tuple[int, str]:
    """Send requests until the connection is refused. Returns the answers and the first error, if there was one.

    A caller that takes too long after an answer to send its next request, because the machine is busy, can find its
    connection closed.
    """
    answers = 0
    answered = time.monotonic()
    while True:
        try:
            status = ask()
        except (ConnectionRefusedError, httpx.ConnectError, urllib3.exceptions.NewConnectionError):
            return answers, ""
        except Exception as error:
            return answers, "" if time.monotonic() - answered > FAREWELL_SECONDS else repr(error)
        if status != 200:
            return answers, f"status {status}"
        answers += 1
        answered = time.monotonic()
        time.sleep(_THINKS)  # as a caller does


@pytest.mark.parametrize("workers", ["1", "2"])
def test_callers_with_keep_alive_connections(workers: str) -> None:
    """A shutdown with a drain delay breaks no request of 32 callers."""
    flags = ("--workers", workers, "--drain-delay", "2", "--no-grpc")
    with ServerProcess(*flags) as server, ThreadPoolExecutor(32) as pool:
        makers = [with_httpx] * 12 + [with_urllib3] * 12 + [by_hand] * 8
        asking = [pool.submit(ask_until_refused, make(server)) for make in makers]
        with Connection(server.port) as metrics:
            eventually(lambda: _answered(metrics) > 200)
        server.process.send_signal(signal.SIGTERM)
        results = [each.result() for each in asking]
    assert [broken for _, broken in results if broken] == []
    assert sum(answers for answers, _ in results) > 200


@pytest.mark.parametrize("delay", ["0", "0.5"])
def test_callers_with_incomplete_requests(delay: str) -> None:
    """An incomplete head, or a body that continues after its response, does not delay the exit."""
    began = request("/v1/predict", f"Content-Length: {len(GOOD)}")
    with ServerProcess("--workers", "1", "--drain-delay", delay) as server, ExitStack() as stack:
        half, early = (stack.enter_context(Connection(server.port)) for _ in range(2))
        early.send(request("/livez", "Content-Length: 1000", method="GET") + b"a")
        assert early.answer().status == 200
        half.send(began[:20])
        assert server.stop() == 0
        assert not [line for line in server.log if " ERROR " in line]


def test_request_just_after_sigterm() -> None:
    """A request on an idle connection just after SIGTERM is answered, even without a drain delay."""
    with ServerProcess("--workers", "1") as server, ExitStack() as stack:
        idle = [stack.enter_context(Connection(server.port)) for _ in range(20)]
        for connection in idle[:10]:
            connection.post("/v1/predict", GOOD)
            assert connection.answer().status == 200
        [worker] = children(server.process.pid)
        pause(worker)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: _refuses(server.port))  # so the worker has been told to leave
        for connection in idle:
            connection.post("/v1/predict", GOOD)
        os.kill(worker, signal.SIGCONT)
        for connection in idle:
            answer = connection.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def _answered(connection: Connection) -> float:
    connection.send(request("/metrics", method="GET"))
    lines = connection.answer().body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("sentiment_requests_total"))
