"""TLS transports, with pairs of sockets and OpenSSL as the client."""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import ssl
import weakref
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from sentiment_conv1d.server.network import turns
from sentiment_conv1d.server.network.listener import Listener
from sentiment_conv1d.server.network.receiver import PIECE_BYTES, has_unread
from sentiment_conv1d.server.network.turns import Turns
from tests.attacks.tls import KeyUpdates, trusting
from tests.service.certificates import Authority

#: Turns of the event loop in which everything that can happen has happened.
_MANY = 2000


class Sink(asyncio.Protocol):
    """A connection that keeps what it receives."""

    transport: asyncio.Transport
    admitted = False
    idle_until = 0.0

    running = False

    def __init__(self, lost: Callable[[Any], None]) -> None:
        self._lost = lost
        self.pieces: list[bytes] = []
        self.lost = self.full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._lost(self)

    @property
    def received(self) -> bytes:
        return b"".join(self.pieces)


class Client:
    """One end of a pair of sockets. Its records are sent with `send`, as far as the kernel takes them."""

    def __init__(self, end: socket.socket, context: ssl.SSLContext) -> None:
        self.end = end
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self.outgoing)
        self._unsent = b""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()

    def send(self) -> None:
        """Send what is encrypted."""
        self._unsent += self.outgoing.read()
        with suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[self.end.send(self._unsent) :]

    def say(self, *records: bytes) -> None:
        """Send records with these contents at once."""
        for content in records:
            self.tls.write(content)
        self.send()

    def receive(self) -> bool:
        """Receive what has arrived. Returns whether anything has."""
        try:
            content = self.end.recv(PIECE_BYTES)
        except BlockingIOError:
            return False
        self._incoming.write(content)
        return bool(content)

    def is_closed(self) -> bool:
        """Whether the server has closed the connection."""
        try:
            return self.end.recv(1) == b""
        except BlockingIOError:
            return False

    async def connect(self) -> None:
        """Complete the handshake."""
        for _ in range(_MANY):
            self.send()
            await asyncio.sleep(0)
            if self.receive():
                with suppress(ssl.SSLWantReadError):
                    self.tls.do_handshake()
                    self.send()
                    await _turns()
                    return
        raise AssertionError("the handshake does not end")

    async def read(self) -> bytes:
        """Return what the server sends until it sends nothing more."""
        content = b""
        for _ in range(_MANY):
            self.send()
            await asyncio.sleep(0)
            self.receive()
            with suppress(ssl.SSLWantReadError):
                while piece := self.tls.read(PIECE_BYTES):
                    content += piece
        return content


class Bench:
    """A listener, whose `sinks` receive what clients send."""

    def __init__(
        self,
        context: ssl.SSLContext,
        client: ssl.SSLContext | None = None,
        max_connections: int = 100,
        guarded: bool = False,
    ) -> None:
        self.sinks: list[Sink] = []
        self._stack = ExitStack()
        self._client = client or trusting()
        self.listener = Listener(
            protocol="test",
            connect=lambda lost, admit: cast(Any, self._connect(lost)),
            rejected=lambda reason: None,
            max_connections=max_connections,
            guarded=guarded,
            tls=lambda: context,
            handshake_timeout=600,
            turns=Turns(asyncio.get_running_loop()),
        )

    async def __aenter__(self) -> Bench:
        return self

    async def __aexit__(self, *failure: object) -> None:
        self.listener.abort()
        await _turns()
        self._stack.close()

    def client(self) -> Client:
        """Connect. The handshake does not begin yet."""
        accepted, end = socket.socketpair()
        self._stack.enter_context(end).setblocking(False)
        self.listener.accept(accepted)
        return Client(end, self._client)

    async def connected(self) -> tuple[Client, Sink]:
        """Connect, and complete the handshake. Returns both ends."""
        client = self.client()
        await client.connect()
        return client, self.sinks[-1]

    def _connect(self, lost: Callable[[Any], None]) -> Sink:
        self.sinks.append(Sink(lost))
        return self.sinks[-1]


async def _turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Return the context of a server."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*Authority(tmp_path_factory.mktemp("certificates")).issue("server").pair)
    return context


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a turn of the event loop end as soon as a connection has made progress."""
    monkeypatch.setattr(turns, "_TURN_SECONDS", 0.0)


def _run(check: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop.run(check())


@pytest.mark.parametrize("hurry", [False, True])
def test_bytes(context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, hurry: bool) -> None:
    """All bytes arrive, in both directions, in pieces of at most 16 kB, however little time a turn has."""
    content = bytes(range(256)) * 2000
    if hurry:
        monkeypatch.setattr(turns, "_TURN_SECONDS", 0.0)

    async def check() -> None:
        async with Bench(context) as bench:
            client, sink = await bench.connected()
            client.tls.write(content)
            sink.transport.write(content)
            assert await client.read() == content
            assert sink.received == content
            assert max(map(len, sink.pieces)) <= PIECE_BYTES

    _run(check)


@pytest.mark.usefixtures("hurried")
def test_handshakes_take_turns(context: ssl.SSLContext) -> None:
    """Clients that begin a handshake at the same time are answered one after the other."""

    async def check() -> None:
        async with Bench(context) as bench:
            clients = [bench.client() for _ in range(20)]
            await _turns()
            for client in clients:
                client.send()
            answered = [sum(client.receive() for client in clients)]
            while sum(answered) < len(clients):
                await asyncio.sleep(0)
                answered.append(sum(client.receive() for client in clients))
            assert max(answered) <= 2

    _run(check)


@pytest.mark.usefixtures("hurried")
def test_decryption_takes_turns(context: ssl.SSLContext) -> None:
    """Thousands of records with one byte each are not decrypted in one turn."""

    async def check() -> None:
        async with Bench(context) as bench:
            client, sink = await bench.connected()
            client.say(*[b"a"] * 500)
            decrypted = [0]
            while decrypted[-1] < 500:
                await asyncio.sleep(0)
                decrypted.append(len(sink.received))
            assert max(after - before for before, after in itertools.pairwise(decrypted)) <= 2

    _run(check)


@pytest.mark.usefixtures("hurried")
def test_key_updates_take_turns(context: ssl.SSLContext, tmp_path: Path) -> None:
    """Of records without content, also after those with content, four kilobytes at most are handled in a turn."""
    updates = KeyUpdates(tmp_path / "log")

    async def check() -> None:
        async with Bench(context, updates.context) as bench:
            client, sink = await bench.connected()
            for _ in range(20):
                client.tls.write(b"a")
            client.end.send(client.outgoing.read() + updates.records(300, answered=False, sent=20))
            left = [0]
            while any(left[-1:]) or not any(left):
                await asyncio.sleep(0)
                left.append(sink.transport.get_extra_info("encrypted"))
            assert max(before - after for before, after in itertools.pairwise(left)) <= 4096
            assert sink.received == b"a" * 20

    _run(check)


def test_connection_that_does_not_read(context: ssl.SSLContext) -> None:
    """While a connection does not read, one piece is held. Afterwards it gets all bytes."""
    content = bytes(1_000_000)

    async def check() -> None:
        async with Bench(context) as bench:
            client, sink = await bench.connected()
            sink.transport.pause_reading()
            client.tls.write(content)
            for _ in range(_MANY):
                client.send()
                await asyncio.sleep(0)
            assert not sink.pieces
            assert sink.transport.get_extra_info("encrypted") <= PIECE_BYTES
            sink.transport.resume_reading()
            await client.read()
            assert sink.received == content

    _run(check)


@pytest.mark.usefixtures("hurried")
def test_unread(context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose bytes are not decrypted yet has unread bytes, so it is not evicted as idle."""

    async def check() -> None:
        async with Bench(context) as bench:
            client, sink = await bench.connected()
            assert not has_unread(sink.transport)
            monkeypatch.setattr(sink, "data_received", lambda data: sink.transport.pause_reading())
            client.say(*[b"a"] * 2)
            await _turns()
            assert has_unread(sink.transport)

    _run(check)


def test_client_that_does_not_read(context: ssl.SSLContext) -> None:
    """A client that does not read is not read either, so that the answers to its key updates do not pile up."""

    async def check() -> None:
        async with Bench(context) as bench:
            client, sink = await bench.connected()
            sink.transport.set_write_buffer_limits(1000)
            content = bytes(1_000_000)
            sink.transport.write(content)
            await _turns()
            assert sink.full
            client.say(b"more")
            sink.transport.resume_reading()
            await _turns()
            assert not sink.pieces and sink.transport.get_extra_info("encrypted") == 0
            assert await client.read() == content
            assert sink.received == b"more" and not sink.full

    _run(check)


@pytest.mark.parametrize("half", [False, True], ids=["close", "write_eof"])
def test_end(context: ssl.SSLContext, half: bool) -> None:
    """A client learns that nothing more is sent. What it sends after the server's end is not decrypted."""

    async def check() -> None:
        async with Bench(context) as bench:
            client, sink = await bench.connected()
            sink.transport.write(b"the last bytes")
            sink.transport.pause_reading()
            (sink.transport.write_eof if half else sink.transport.close)()
            await _turns()
            while client.receive():
                pass
            assert client.tls.read(100) == b"the last bytes"
            assert client.tls.read(100) == b""  # an end without the alert would be an error
            if half:
                client.say(b"more")
                await _turns()
                assert not sink.pieces and not sink.lost
                assert sink.transport.get_extra_info("encrypted") == 0
                client.end.close()
                await _turns()
            assert sink.lost

    _run(check)


@pytest.mark.usefixtures("hurried")
def test_end_while_bytes_wait(context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the server's end, nothing more of what has arrived is decrypted, and the client gets no error."""

    async def check() -> None:
        async with Bench(context) as bench:
            client, sink = await bench.connected()
            monkeypatch.setattr(sink, "data_received", lambda data: sink.transport.write_eof())
            client.say(*[b"a"] * 3)
            await _turns()
            assert not sink.lost
            assert await client.read() == b""

    _run(check)


def test_client_that_ends(context: ssl.SSLContext) -> None:
    """A connection is closed when its client has said that it sends nothing more, after the bytes before."""

    async def check() -> None:
        async with Bench(context) as bench:
            client, sink = await bench.connected()
            client.tls.write(b"the last bytes")
            with suppress(ssl.SSLWantReadError):
                client.tls.unwrap()
            client.send()
            await _turns()
            assert sink.received == b"the last bytes" and sink.lost

    _run(check)


@pytest.mark.parametrize(
    ("content", "alert"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"", id="HTTP"),
        pytest.param(b"\x16\x03\x01\0\5hello", b"\x15", id="not a handshake"),
        pytest.param(
            b"\x16\x03\x01\x40\x00\x01\x01\xff\xff" + bytes(16_380) + (b"\x16\x03\x01\x40\x00" + bytes(16_384)) * 3,
            b"",
            id="endless",
        ),
    ],
)
def test_refused_handshake(context: ssl.SSLContext, content: bytes, alert: bytes) -> None:
    """What is no handshake, or never ends, is refused, with OpenSSL's alert if it has one."""

    async def check() -> None:
        async with Bench(context) as bench:
            client = bench.client()
            await _turns()
            with suppress(BlockingIOError, ConnectionError):
                client.end.sendall(content)
            await _turns()
            assert bench.listener.closed == 1
            if alert:
                assert client.end.recv(100).startswith(alert)

    _run(check)


@pytest.mark.parametrize("guarded", [False, True])
def test_eviction(context: ssl.SSLContext, guarded: bool) -> None:
    """Unfinished handshakes and connections without access replace each other, the longest-held first."""

    async def check() -> None:
        async with Bench(context, max_connections=4, guarded=guarded) as bench:
            idle = [(await bench.connected())[1] for _ in range(4)]
            silent = []
            for number in range(8):
                silent.append(bench.client())
                await _turns()
                assert [sink.lost for sink in idle] == [place <= number for place in range(4)]
            assert [client.is_closed() for client in silent] == [True] * 4 + [False] * 4

    _run(check)


def test_client_certificates(tmp_path: Path) -> None:
    """A client with a certificate keeps its place from the end of its handshake on, and one without does not."""
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
    context.load_cert_chain(*authority.issue("server").pair)
    context.verify_mode = ssl.CERT_OPTIONAL
    certified = trusting()
    certified.load_cert_chain(*authority.issue("client").pair)

    async def check() -> None:
        async with Bench(context, certified, max_connections=4, guarded=True) as bench:
            _, known = await bench.connected()
            assert known.admitted
            await Client(bench.client().end, trusting()).connect()
            stranger = bench.sinks[-1]
            assert not stranger.admitted
            for _ in range(8):
                bench.client()
                await _turns()
            assert stranger.lost
            assert not known.lost

    _run(check)


def test_no_cycles(context: ssl.SSLContext) -> None:
    """After a flood of connections, there is nothing to collect: the pauses of the collector delay other callers."""

    async def check() -> None:
        async with Bench(context) as bench:
            for content in (b"not TLS", b"", None):
                client = bench.client()
                if content is None:
                    await client.connect()
                sink = weakref.ref(bench.sinks.pop())
                await _turns()
                client.end.sendall(content or b"")
                client.end.shutdown(socket.SHUT_WR)
                await _turns()
                assert sink() is None

    gc.disable()
    try:
        _run(check)
    finally:
        gc.enable()
