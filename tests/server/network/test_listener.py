"""The limits and the shutdown of a listener, with pairs of sockets."""

import asyncio
import select
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any, cast

import uvloop

from sentiment_conv1d.server.network.listener import Connection, Listener
from sentiment_conv1d.server.network.turns import Turns


class Echo(asyncio.Protocol):
    """A connection that has access and is busy from its first byte to the first `.`, and has no time limit."""

    transport: asyncio.Transport
    admitted = False

    def __init__(self, lost: Callable[[Connection], None]) -> None:
        self._lost = lost
        self._busy = self._ending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        self._busy, self.admitted = b"." not in data, True
        self.transport.write(data)
        if self._ending:
            self.shutdown()

    @property
    def idle_until(self) -> float | None:
        return None if self._busy else 0.0

    def watch(self, now: float) -> None:
        pass

    def shutdown(self) -> None:
        self._ending = True
        if not self._busy:
            self.transport.close()


class Bench:
    """A listener for `Echo` connections, with its counts."""

    def __init__(self, max_connections: int = 100, max_connections_per_address: int = 0) -> None:
        self.rejected: Counter[str] = Counter()
        self.stack = ExitStack()
        self.listener = Listener(
            protocol="test",
            connect=Echo,
            rejected=lambda reason: self.rejected.update([reason]),
            refusal=lambda: b"no",
            handshake_timeout=10,
            turns=Turns(asyncio.get_running_loop()),
            max_connections=max_connections,
            max_connections_per_address=max_connections_per_address,
        )

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *failure: object) -> None:
        self.listener.abort()
        for _ in range(10):
            await asyncio.sleep(0)
        self.stack.close()

    async def connect(self) -> socket.socket:
        """Open a connection and return the client's end."""
        accepted, peer = socket.socketpair()
        self.stack.enter_context(peer).setblocking(False)
        self.listener.accept(accepted)
        for _ in range(10):  # turns of the event loop, in which it is set up
            await asyncio.sleep(0)
        return peer


async def say(peer: socket.socket, text: bytes) -> bytes:
    """Send bytes and return the answer."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(peer, text)
    return await loop.sock_recv(peer, 100)


def run(check: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on the event loop of the service."""
    uvloop.run(check())


def test_limit() -> None:
    """At the limit an idle connection is evicted. If none is idle, the new one is rejected with a message."""

    async def check() -> None:
        bench = Bench(max_connections=2)
        async with bench:
            first, second, third = [await bench.connect() for _ in range(3)]
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(first, 100) == b""
            assert [await say(each, b"a") for each in (second, third)] == [b"a", b"a"]
            fourth = await bench.connect()
            assert await loop.sock_recv(fourth, 100) == b"no"
            assert bench.rejected == {"evicted": 1, "limit": 1}
            assert bench.listener.closed == 2
            assert await say(second, b".") == b"."

    run(check)


def test_unread_bytes() -> None:
    """A connection with bytes that are not read yet is not evicted, because they can be a request."""

    async def check() -> None:
        bench = Bench(max_connections=2)
        async with bench:
            peers = [await bench.connect() for _ in range(2)]
            for connection in bench.listener._connections:
                connection.transport.pause_reading()
            peers[0].send(b".")
            await bench.connect()
            assert [select.select([each], [], [], 0)[0] != [] for each in peers] == [False, True]

    run(check)


def test_strangers() -> None:
    """Connections without access replace idle ones until they are more than half of all, and then each other."""

    async def check() -> None:
        bench = Bench(max_connections=4)
        async with bench:
            callers = [await bench.connect() for _ in range(4)]
            assert [await say(each, b".") for each in callers] == [b"."] * 4
            strangers = [await bench.connect() for _ in range(8)]
            assert await say(callers[-1], b".") == b"."
            assert [select.select([each], [], [], 0)[0] != [] for each in strangers] == [True] * 5 + [False] * 3

    run(check)


def test_unix_sockets_have_no_address() -> None:
    """Clients on a Unix socket do not count as one address."""

    async def check() -> None:
        bench = Bench(max_connections_per_address=1)
        async with bench:
            peers = [await bench.connect() for _ in range(3)]
            assert [await say(peer, b".") for peer in peers] == [b"."] * 3
            assert not bench.rejected

    run(check)


def test_addresses() -> None:
    """Connections of one address are limited, and an address without connections is forgotten."""

    async def check() -> None:
        bench = Bench(max_connections_per_address=1)
        async with bench:
            with socket.create_server(("127.0.0.1", 0)) as server:
                for _ in range(2):
                    peer = bench.stack.enter_context(socket.create_connection(server.getsockname()))
                    bench.listener.accept(server.accept()[0])
                    assert bench.listener._addresses == {"127.0.0.1": 1}
            assert bench.rejected == {"address": 1}
            assert peer.recv(100) == b"no"
            bench.listener.abort()
            assert bench.listener._addresses == {}

    run(check)


def test_close() -> None:
    """Idle and new connections are closed at once, and busy ones when they are done."""

    async def check() -> None:
        bench = Bench()
        loop = asyncio.get_running_loop()
        async with bench:
            idle, busy = [await bench.connect() for _ in range(2)]
            assert await say(busy, b"a") == b"a"
            closing = asyncio.create_task(bench.listener.close(60))
            assert await loop.sock_recv(idle, 100) == b""
            late = await bench.connect()
            assert await loop.sock_recv(late, 100) == b""
            assert await say(busy, b".") == b"."
            await closing
            assert bench.listener.closed == 3

    run(check)


def test_close_without_grace() -> None:
    """Connections that are not done in time are aborted."""

    async def check() -> None:
        bench = Bench()
        async with bench:
            busy = await bench.connect()
            assert await say(busy, b"a") == b"a"
            await bench.listener.close(0)
            bench.listener.abort()
            assert bench.listener.closed == 1
            assert await asyncio.get_running_loop().sock_recv(busy, 100) == b""

    run(check)
