"""A client in memory, an application for the server's connection, and manual clocks."""

from __future__ import annotations

import asyncio
from typing import Any

import hpack

from sentiment_conv1d.server.errors import ClientDisconnected
from sentiment_conv1d.server.grpc.call_context import ConnectionLimits
from sentiment_conv1d.server.grpc.connection import GrpcConnection
from sentiment_conv1d.server.grpc.http2 import Fields, Head
from sentiment_conv1d.server.grpc.stream import Stream
from sentiment_conv1d.server.network.buffers import Buffers
from sentiment_conv1d.server.network.turns import Turns
from tests.service.grpc import wire
from tests.service.grpc.wire import Frame

#: The fields around every answer, which `Caller.answers` expects.
HEAD = Head(200, [(b"content-type", b"text/plain")])
TAIL: Fields = [(b"outcome", b"good")]

LIMITS = ConnectionLimits(
    streams=100,
    handshake_seconds=10,
    header_seconds=20,
    idle_seconds=300,
    age_seconds=3600,
    write_seconds=30,
)

#: The memory for incomplete frames and calls.
BUFFERED = 1_000_000

#: The fields of a request with an unsupported path, for `Caller`.
UNSUPPORTED = [*wire.POST[:2], (":path", "/unsupported"), wire.POST[3]]


class Loop(asyncio.SelectorEventLoop):
    """An event loop with a manual clock. It stores the exceptions of its callbacks and tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.tick = 0.0  # of `perf_counter`
        self.failures: list[dict[str, Any]] = []
        self.counter = 0.0
        self.set_exception_handler(lambda loop, context: self.failures.append(context))

    def time(self) -> float:
        """Return the seconds of the manual clock."""
        return self.now

    def perf_counter(self) -> float:
        """Return the seconds of the manual clock, and advance it by `tick`."""
        self.counter += self.tick
        return self.counter

    def turn(self) -> None:
        """Run the ready callbacks."""
        self.call_soon(self.stop)
        self.run_forever()


class Transport(asyncio.Transport):
    """A transport that keeps written bytes until the client reads them."""

    def __init__(self, connection: GrpcConnection) -> None:
        super().__init__({"peername": ("192.0.2.1", 5000)})
        self.unread = bytearray()
        self.written = 0
        self.reading = True
        self.closing = self.aborted = False
        self.ended = False
        self._connection = connection
        self._paused = False
        self._high = 65_536

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits, as asyncio's transports do."""
        assert high is not None
        self._high = high

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Store bytes from the server."""
        assert not self.closing and not self.ended
        self.unread += data
        self.written += len(data)
        if len(self.unread) > self._high and not self._paused:
            self._paused = True
            self._connection.pause_writing()

    def take(self, size: int | None = None) -> bytes:
        """Return the bytes that the client reads: all, or at most `size`."""
        taken = bytes(self.unread[:size])
        del self.unread[:size]
        if self._paused and len(self.unread) <= self._high // 4:
            self._paused = False
            self._connection.resume_writing()
        return taken

    def write_eof(self) -> None:
        """End the server's direction."""
        self.ended = True

    def is_closing(self) -> bool:
        """Whether the transport is closing."""
        return self.closing

    def close(self) -> None:
        """Send the waiting bytes and then close."""
        self.closing = True

    def abort(self) -> None:
        """Drop the waiting bytes and close."""
        self.closing = self.aborted = True

    def pause_reading(self) -> None:
        """Stop receiving."""
        self.reading = False

    def resume_reading(self) -> None:
        """Continue to receive."""
        self.reading = True

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that the client has not read."""
        return len(self.unread)


class Request(Stream):
    """A request in the application. A test decides when to answer it."""

    def __init__(self, connection: GrpcConnection, identity: int, fields: dict[bytes, bytes], loop: Loop) -> None:
        super().__init__(identity)
        self.fields = fields
        self.body = b""
        self.complete = self.gone = self.waiting = False
        self.watched: float | None = None
        self.task: asyncio.Task[None] | None = None
        self.connection = connection
        self._loop = loop

    @property
    def parked(self) -> bool:
        """Whether the request only waits, as the test has set it."""
        return self.waiting

    def answer(self, content: bytes) -> None:
        """Begin to send the answer."""
        self.task = self._loop.create_task(self._answer(content))

    async def _answer(self, content: bytes) -> None:
        try:
            await self.connection.sender.send(self, content, head=HEAD, trailers=TAIL)
        except ClientDisconnected:
            self.gone = True

    def opened(self) -> None:
        """Record the head."""
        self.complete = self.ended

    def received(self, data: bytes) -> None:
        """Record the content."""
        assert not self.complete
        self.body += data
        self.complete = self.ended

    def lost(self) -> None:
        """Record the end."""
        assert not self.gone
        self.gone = True

    def enforce_timeouts(self, now: float) -> None:
        """Record the time."""
        self.watched = now


class Echo(Request):
    """Answers with the content of its request."""

    def opened(self) -> None:
        """Answer if the request is complete."""
        super().opened()
        if self.complete:
            self.answer(self.body)

    def received(self, data: bytes) -> None:
        """Answer if the request is complete."""
        super().received(data)
        if self.complete:
            self.answer(self.body)


class Caller:
    """A client with a connection to the server. The application creates a `kind` for every request."""

    def __init__(
        self, loop: Loop, kind: type[Request] = Echo, limits: ConnectionLimits = LIMITS, turns: Turns | None = None
    ) -> None:
        self.loop = loop
        self.requests: dict[int, Request] = {}
        self.closed = 0  # how often the server was told
        self.failures: list[str] = []  # the reasons that the server was told
        self.buffers = Buffers(BUFFERED)
        self.connection = GrpcConnection(
            loop, limits, turns or Turns(loop), self.buffers, self._open_stream, self._closed, self.failures.append
        )
        self.transport = Transport(self.connection)
        self.decoder = hpack.Decoder()
        self._kind = kind
        self._rest = b""
        self.connection.connection_made(self.transport)

    def _open_stream(
        self, connection: GrpcConnection, number: int, method: bytes, path: bytes, fields: Fields
    ) -> Stream | None:
        assert number not in self.requests
        if path == b"/unsupported":
            return None
        self.requests[number] = self._kind(connection, number, dict(fields), self.loop)
        return self.requests[number]

    def _closed(self, connection: GrpcConnection) -> None:
        self.closed += 1

    @property
    def held(self) -> int:
        """Return the counted bytes of what the client has sent."""
        return self.buffers.held - self.connection._unsent.held

    @property
    def unread(self) -> int:
        """Return the number of bytes that are not parsed, or are no complete frame."""
        http2 = self.connection._http2
        return len(http2._received) + http2._silent

    def greet(self, *settings: tuple[int, int]) -> None:
        """Send the preface, and drop the server's response to it."""
        self.say(wire.PREFACE + wire.settings(*settings) + wire.frame("SETTINGS", wire.ACK))
        self.hear()

    def say(self, data: bytes) -> None:
        """Send bytes unless the connection is closed."""
        if not self.transport.closing:
            assert self.transport.reading
            self.connection.data_received(data)

    def hear(self, size: int | None = None) -> list[Frame]:
        """Read the bytes from the server until it sends no more, or at most `size` bytes."""
        self.settle()
        heard = self.transport.take(size)
        while size is None:
            self.settle()
            if not self.transport.unread:
                break
            heard += self.transport.take()
        frames, self._rest = wire.read(self._rest + heard)
        return frames

    def ask(self, data: bytes) -> list[Frame]:
        """Send bytes and return the server's response."""
        self.say(data)
        return self.hear()

    def settle(self) -> None:
        """Run the server until it has nothing to do."""
        quiet = 0
        while quiet < 5 or (not self.transport.reading and self.connection._waiting and quiet < 10_000):
            before = self.transport.written
            self.loop.turn()
            quiet = 0 if self.transport.written > before else quiet + 1

    def wait(self, seconds: float, *, step: float = 1.0) -> None:
        """Advance the clock."""
        until = self.loop.now + seconds
        while self.loop.now < until:
            self.loop.now = min(until, self.loop.now + step)
            self.loop.turn()
            self.connection.enforce_timeouts(self.loop.now)
        self.settle()

    def live(self, seconds: int) -> None:
        """Advance the clock in steps of ten seconds, and answer pings after each step."""
        for _ in range(seconds // 10):
            self.wait(10)
            self.say(wire.ping(flags=wire.ACK))

    def leave(self) -> None:
        """Disconnect, and check that nothing is left and nothing has failed."""
        self.transport.abort()
        self.connection.connection_lost(None)
        self.settle()
        assert self.buffers.held == 0
        assert not self.connection.streams
        assert self.loop.failures == []

    def answers(self, frames: list[Frame]) -> dict[int, bytes]:
        """Return the content of the complete answers, and check their fields."""
        heads: dict[int, int] = {}
        contents: dict[int, bytes] = {}
        complete: dict[int, bytes] = {}
        for each in frames:
            if each.kind == "HEADERS":
                assert each.flags & wire.END_HEADERS
                fields = wire.fields(each.payload, self.decoder)
                count = heads[each.stream] = heads.get(each.stream, 0) + 1
                expected = [(":status", "200"), ("content-type", "text/plain")] if count == 1 else [("outcome", "good")]
                assert fields == expected
                assert bool(each.flags & wire.END_STREAM) == (count == 2)
                if count == 2:
                    complete[each.stream] = contents.pop(each.stream, b"")
            elif each.kind == "DATA":
                assert heads[each.stream] == 1
                contents[each.stream] = contents.get(each.stream, b"") + each.payload
        return complete


def fate(frames: list[Frame]) -> list[str]:
    """Return the connections and streams that the server ended, with the error codes."""
    return [
        f"GOAWAY {each.code}" if each.kind == "GOAWAY" else f"RST_STREAM {each.stream} {each.code}"
        for each in frames
        if each.kind in ("GOAWAY", "RST_STREAM")
    ]
