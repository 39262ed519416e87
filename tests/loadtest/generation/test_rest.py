"""The connection pool sends requests and reports their outcomes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from time import perf_counter

import pytest
import uvloop

from loadtest.generation.rest import CLOSED, UNREADABLE, ConnectionPool
from loadtest.traffic.requests import Request, Transport
from loadtest.traffic.target import Endpoint, Target
from tests.processes import PATIENCE

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
LAST = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def ask(payload: bytes, answer: Callable[[socket.socket], Awaitable[None]]) -> str:
    """Return the outcome of a request to a server."""

    async def exchange() -> str:
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            target = Target(Endpoint("127.0.0.1", listening.getsockname()[1]))
            pool = ConnectionPool(target, lambda *over: outcome.set_result(over[-1]), limit=1, timeout=PATIENCE)
            await pool.open(1)
            accepted, _ = listening.accept()
        with accepted:
            accepted.setblocking(False)
            pool.send(Request("rest", Transport.HTTP, "", payload, 1), perf_counter())
            await asyncio.wait_for(answer(accepted), PATIENCE)
            found = await asyncio.wait_for(outcome, PATIENCE)
            await pool.close()
        return found

    return uvloop.run(exchange())


def test_long_request() -> None:
    """A request that is larger than the kernel's buffer is sent completely."""
    payload = b"x" * 2**24

    async def answer(accepted: socket.socket) -> None:
        count = 0
        while count < len(payload):
            count += len(await asyncio.get_running_loop().sock_recv(accepted, 2**20))
        accepted.send(ANSWER)

    assert ask(payload, answer) == "200"


def test_last_answer() -> None:
    """A connection is closed after an answer with `Connection: close`."""

    async def answer(accepted: socket.socket) -> None:
        accepted.send(LAST)
        while await asyncio.get_running_loop().sock_recv(accepted, 2**10):
            pass

    assert ask(b"x", answer) == "503"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + ANSWER, "200"),
        (b"hello\r\n\r\n", UNREADABLE),
        (ANSWER[:20], CLOSED),
        (b"", CLOSED),
    ],
)
def test_outcomes(answer: bytes, outcome: str) -> None:
    """The outcome of an answer is its status. Incomplete answers and answers that are not HTTP are failures."""

    async def give(accepted: socket.socket) -> None:
        accepted.send(answer)
        accepted.shutdown(socket.SHUT_WR)

    assert ask(b"x", give) == outcome
