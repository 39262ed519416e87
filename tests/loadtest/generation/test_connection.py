"""Connections: what becomes of a request."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from time import perf_counter

import pytest
import uvloop

from loadtest.generation.connection import CLOSED, UNREADABLE, Connection
from loadtest.traffic.requests import Request, Transport
from loadtest.traffic.target import Endpoint
from tests.processes import PATIENCE

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
LAST = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class _Owner:
    """Hears what becomes of one request."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.freed = False
        self.gone = asyncio.Event()

    def over(self, request: Request, due: float, moment: float, outcome: str) -> None:
        self.outcome.set_result(outcome)

    def free(self, connection: Connection) -> None:
        self.freed = True

    def lost(self, connection: Connection) -> None:
        self.gone.set()


def ask(payload: bytes, answer: Callable[[socket.socket], Awaitable[None]]) -> tuple[str, bool]:
    """What comes of a request to that server, and whether the connection can be used again."""

    async def exchange() -> tuple[str, bool]:
        owner = _Owner()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            connection = await Connection.open(owner, Endpoint("127.0.0.1", listening.getsockname()[1]), None)
            accepted, _ = listening.accept()
        with accepted:
            accepted.setblocking(False)
            connection.send(Request("rest", Transport.HTTP, "", payload, 1), perf_counter())
            await answer(accepted)
            outcome = await asyncio.wait_for(owner.outcome, PATIENCE)
            if owner.freed:
                connection.abort(CLOSED)
            await asyncio.wait_for(owner.gone.wait(), PATIENCE)
        return outcome, owner.freed

    return uvloop.run(exchange())


def test_a_long_request() -> None:
    """What the kernel does not take at once is sent when it can be."""
    payload = b"x" * 2**24

    async def answer(accepted: socket.socket) -> None:
        count = 0
        while count < len(payload):
            count += len(await asyncio.get_running_loop().sock_recv(accepted, 2**20))
        accepted.send(ANSWER)

    assert ask(payload, answer)[0] == "200"


@pytest.mark.parametrize(
    ("answer", "outcome", "kept"),
    [
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + ANSWER, "200", True),
        (LAST, "503", False),
        (b"hello\r\n\r\n", UNREADABLE, False),
        (ANSWER[:20], CLOSED, False),
        (b"", CLOSED, False),
    ],
)
def test_outcomes(answer: bytes, outcome: str, kept: bool) -> None:
    """An answer is its status; one that breaks off or is no HTTP is a failure of that kind."""

    async def give(accepted: socket.socket) -> None:
        accepted.send(answer)
        accepted.shutdown(socket.SHUT_WR)

    assert ask(b"x", give) == (outcome, kept)
