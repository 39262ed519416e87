"""The limits and the shutdown of a listener, with pairs of sockets."""

import asyncio
import select
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any, cast

import pytest
import uvloop

from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.server.network.listener import Listener
from sentiment_conv1d.server.network.places import Connection
from sentiment_conv1d.server.network.turns import Turns


class Echo(asyncio.Protocol):
    """A connection without time limits. `.` ends a request, `!` shows access, and anything else begins a request."""

    transport: asyncio.Transport
    admitted = False

    def __init__(self, lost: Callable[[Connection], None], admit: Callable[[Connection], None]) -> None:
        self._lost, self._admit = lost, admit
        self.running = self._ending = self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        self.running = data not in (b".", b"!")
        if data == b"!":
            try:
                self._admit(self)
            except Unavailable:
                data = b"?"
        self.transport.write(data)
        if self._ending:
            self.shutdown()

    @property
    def idle_until(self) -> float | None:
        return None if self.running else 0.0

    def enforce_timeouts(self, now: float) -> None:
        pass

    def shutdown(self) -> None:
        self._ending = True
        if not self.running:
            self.transport.close()


class Bench:
    """A listener for `Echo` connections, with its counts."""

    def __init__(
        self, max_connections: int = 100, max_connections_per_address: int = 0, *, guarded: bool = False
    ) -> None:
        self.rejected: Counter[str] = Counter()
        self.stack = ExitStack()
        self.listener = Listener(
            protocol="test",
            connect=Echo,
            rejected=lambda reason: self.rejected.update([reason]),
            rejection=lambda: b"no",
            handshake_timeout=10,
            turns=Turns(asyncio.get_running_loop()),
            max_connections=max_connections,
            max_connections_per_address=max_connections_per_address,
            guarded=guarded,
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


def ended(peers: list[socket.socket]) -> list[bool]:
    """Return for each connection whether it was closed, or something was sent on it."""
    return [select.select([peer], [], [], 0)[0] != [] for peer in peers]


def test_limit() -> None:
    """Without keys, a connection without a request is replaced. If there is none, a new one gets a message."""

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


def test_unread_answer() -> None:
    """Without keys, a connection whose client does not read its answer is replaced."""

    async def check() -> None:
        bench = Bench(max_connections=2)
        async with bench:
            peers = [await bench.connect() for _ in range(2)]
            assert [await say(each, b"a") for each in peers] == [b"a", b"a"]
            bench.listener._places.connections()[1].transport.write(bytes(10_000_000))
            await bench.connect()
            assert await say(peers[0], b".") == b"."
            assert bench.rejected == {"evicted": 1}

    run(check)


def test_connections_wait_for_a_place() -> None:
    """At the limit, connections that come at once are placed in their order, in place of those that clients close."""

    async def check() -> None:
        bench = Bench(max_connections=4, guarded=True)
        async with bench:
            peers = [await bench.connect() for _ in range(4)]
            pairs = [socket.socketpair() for _ in range(4)]
            for peer in peers[2:]:
                peer.close()
            for accepted, peer in pairs:
                bench.stack.enter_context(peer).setblocking(False)
                bench.listener.accept(accepted)
            assert bench.listener.busy
            newcomers = [peer for _, peer in pairs]
            assert [await say(each, b".") for each in newcomers] == [b"."] * 4
            assert ended(peers[:2]) == [True, True]
            assert not bench.listener.busy
            assert bench.rejected == {"evicted": 2}

    run(check)


def test_abort_while_connections_wait() -> None:
    """Connections that wait for a place are closed with all others."""

    async def check() -> None:
        bench = Bench(max_connections=1)
        async with bench:
            await bench.connect()
            accepted, peer = socket.socketpair()
            with peer:
                peer.setblocking(False)
                bench.listener.accept(accepted)
                bench.listener.abort()
                assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""

    run(check)


@pytest.mark.parametrize("turns", range(4))
def test_abort_during_setup(turns: int) -> None:
    """A connection that is closed while it is being set up loses its socket, and learns of it if it was made."""

    async def check() -> None:
        bench = Bench()
        async with bench:
            accepted, peer = socket.socketpair()
            with peer:
                peer.setblocking(False)
                bench.listener.accept(accepted)
                [connection] = bench.listener._places.connections()
                for _ in range(turns):
                    await asyncio.sleep(0)
                bench.listener.abort()
                assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""
                assert bench.listener.closed == 1
                await asyncio.sleep(0)
                assert cast(Echo, connection).lost
                assert not bench.listener._handshakes

    run(check)


def test_strangers() -> None:
    """Connections without access replace each other, even during a request, and never one with access."""

    async def check() -> None:
        bench = Bench(max_connections=4, guarded=True)
        async with bench:
            callers = [await bench.connect() for _ in range(2)]
            assert [await say(each, b"!") for each in callers] == [b"!"] * 2
            strangers = []
            for _ in range(8):
                strangers.append(await bench.connect())
                assert await say(strangers[-1], b"a") == b"a"
            assert ended(strangers) == [True] * 6 + [False] * 2
            assert [await say(each, b".") for each in callers] == [b"."] * 2
            assert bench.rejected == {"evicted": 6}

    run(check)


def test_access_at_the_limit() -> None:
    """A connection that shows access replaces an idle one with access. If there is none, it stays a stranger."""

    async def check() -> None:
        bench = Bench(max_connections=4, guarded=True)
        async with bench:
            idle, busy, third, fourth = [await bench.connect() for _ in range(4)]
            assert [await say(each, b"!") for each in (idle, busy)] == [b"!"] * 2
            assert await say(busy, b"a") == b"a"
            assert await say(third, b"!") == b"!"
            assert await asyncio.get_running_loop().sock_recv(idle, 1) == b""
            assert await say(third, b"a") == b"a"
            assert await say(fourth, b"!") == b"?"
            assert bench.rejected == {"evicted": 1, "limit": 1}
            assert await say(busy, b".") == b"."
            assert await say(fourth, b"!") == b"!"
            assert ended([busy, third, fourth]) == [True, False, False]

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
                    assert bench.listener._places.held_by("127.0.0.1") == 1
            assert bench.rejected == {"address": 1}
            assert peer.recv(100) == b"no"
            bench.listener.abort()
            assert not bench.listener._places._held

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
