"""One connection: its calls, and the limits on what its client may make the server keep and do.

Source: RFC 9113, and gRPC's documents on its protocol over HTTP/2 and on keepalive.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from time import perf_counter
from typing import NamedTuple

from service.buffers import Buffers
from service.errors import Overloaded
from service.grpc.transport.http2 import CANCEL, LARGEST_STREAM, NO_ERROR, ConnectionFailed, Fields, Http2
from service.grpc.transport.turns import Turns

logger = logging.getLogger(__name__)

#: Frames without effect that a client may send at once beside one for every call, whose deadlines may pass together;
#: and so many more every second. A call that is answered makes up for one. SETTINGS are more work than others.
_MAX_NOISE = 400
_FORGIVEN_NOISE = 100
_SETTINGS_NOISE = 20

#: Seconds between two pings of a client, but for those after an answer, and how many may come sooner.
_PING_SECONDS = 10.0
_MAX_PING_STRIKES = 2

#: The payloads of the server's own pings; after the answer to the second, no new call can be on the way.
_ALIVE = b"alive?\0\0"
_LAST = b"the last"

#: Seconds to wait for that answer.
_GOAWAY_SECONDS = 1.0

#: Unsent bytes of a connection above which nothing more is read from it or written to it.
_HIGH_WATER = 32_768

#: Bytes of an incomplete frame, of which every connection may have one.
_UNCOUNTED = 16_384 + 9

#: Bytes of an answer that a client may take `write_seconds` for.
_TIMED_BYTES = 1024 * 1024

#: What a request that is none of gRPC's takes.
_UNSUPPORTED_BYTES = 8192

_UNSUPPORTED = b"this port speaks gRPC alone\n"
_UNSUPPORTED_HEAD: Fields = [(b":status", b"415"), (b"content-type", b"text/plain")]

_WRONG_PROTOCOL = b"this port speaks HTTP/2 alone, and gRPC on it\n"
_HTTP1_REFUSAL = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\n"
    b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
) % (len(_WRONG_PROTOCOL), _WRONG_PROTOCOL)
_HTTP1 = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC")


class CallerGone(Exception):
    """There is nobody to send to."""


class Limits(NamedTuple):
    """What a client may take."""

    streams: int  # at once
    head_bytes: int  # of a request's fields; the client is told, and the application enforces it
    handshake_seconds: float  # until its first SETTINGS
    idle_seconds: float  # without a call
    age_seconds: float  # until it is asked to connect again, and once more that long for its calls to end
    write_seconds: float  # to read what was written, to take 1 MiB of an answer, and to answer a ping


class Stream(ABC):
    """A request and its response, as the connection sees them."""

    __slots__ = ("answered", "answering", "blocked", "cut", "ended", "id")

    def __init__(self, identity: int) -> None:
        self.id = identity
        self.ended = False  # the request is complete
        self.cut = False  # nothing more can be sent
        self.answering = self.answered = False  # some of the response was sent, all of it
        self.blocked: asyncio.Future[None] | None = None  # until more may be sent

    @property
    @abstractmethod
    def parked(self) -> bool:
        """Whether it has nothing to do until the client sends something or the server changes."""

    @abstractmethod
    def began(self) -> None:
        """The fields of the request are complete; `ended` says whether that was all."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Content, or the end of the request as `ended` says. `Connection.consumed` has to be called for its bytes."""

    @abstractmethod
    def lost(self) -> None:
        """Nothing that is sent arrives any more."""

    @abstractmethod
    def watch(self, now: float) -> None:
        """Enforce time limits. Called every second or so with the event loop's time."""


class Connection(asyncio.Protocol):
    """Calls `opened` for every request; the stream that it returns is told what else arrives.

    If it returns None, the request is none of gRPC's and is answered with status 415. A client that closes its half of
    the connection is gone, since it could not open windows any more.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        turns: Turns,
        buffers: Buffers,
        opened: Callable[[Connection, int, list[tuple[bytes, bytes]]], Stream | None],
        lost: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._turns = turns
        self._buffers = buffers
        self._opened = opened
        self._lost = lost
        self._http2 = Http2(self, streams=limits.streams, head_bytes=limits.head_bytes)
        self._streams: dict[int, Stream] = {}
        self._blocked: dict[Stream, None] = {}  # those that wait to send, the longest first
        self._held = 0  # of the buffers
        self._ready = False  # the first SETTINGS have arrived
        self._waiting = False  # for a turn to read
        self._reading = False  # frames, after which what they caused is sent
        self._failed = False
        self._paused = False  # the client does not read
        self._goaway_at: float | None = None  # when the client was told to leave
        self._accepting = True  # streams, until the client has been told the last one
        self._client_leaves = False
        self._noise = 0
        self._last_ping = -_PING_SECONDS
        self._ping_strikes = 0  # since something was last sent
        self._written = 0  # bytes
        self._unread_mark = 0  # of those written, what has to be read in time
        self._born = self._heard = self._busy = self._read_at = 0.0  # on the event loop's clock

    # What the event loop calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the client's preface."""
        self.transport = transport
        transport.set_write_buffer_limits(_HIGH_WATER)
        self._born = self._heard = self._busy = self._read_at = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cut every stream."""
        self._hold(0)
        self._cut_all()
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        """Read the frames that are complete, now or in turn."""
        self._heard = self._loop.time()
        if not self._ready and not self._written and data.startswith(_HTTP1):
            self._write(_HTTP1_REFUSAL)
            self.transport.close()
            return
        self._http2.receive(data)
        if not self._waiting and not self._turns.read(self):
            self._waiting = True
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """Read no more from a client that does not read."""
        self._paused = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        self._heard = self._loop.time()  # nothing was read until now
        self._resume_reading()
        self._wake_next()

    # What the server calls.

    @property
    def streams(self) -> Collection[Stream]:
        """Those that are open."""
        return self._streams.values()

    @property
    def idle_until(self) -> float | None:
        """When the connection times out, None while it works. Without a call it comes before those with parked ones."""
        if self._waiting or self.transport.is_closing() or self.transport.get_write_buffer_size():
            return None
        if not self._ready:
            return self._born + self._limits.handshake_seconds
        if not self._parked:
            return None
        return self._busy + self._limits.idle_seconds + (self._limits.age_seconds if self._streams else 0)

    def watch(self, now: float) -> None:
        """Enforce time limits. Called every second or so with the event loop's time."""
        self._noise = max(0, self._noise - _FORGIVEN_NOISE)
        if not self._parked:
            self._busy = now
        if self._overdue(now):
            self.transport.abort()
        elif not self.transport.is_closing():
            self._watch_age(now)
            if not self._paused:
                self._watch_silence(now)
        for stream in list(self._streams.values()):
            stream.watch(now)

    def shutdown(self) -> None:
        """Ask the client to make its next calls on another connection, and finish those on this one.

        It is told twice: calls that it makes before it reads the first GOAWAY are answered as well.
        """
        if self._goaway_at is None and not self.transport.is_closing():
            self._goaway_at = self._loop.time()
            if not self._ready:
                self.transport.close()
                return
            self._http2.ping(_LAST)
            self._write(self._http2.go_away(LARGEST_STREAM) + self._http2.take())

    # What streams call.

    async def send(
        self, stream: Stream, data: bytes, *, head: Fields | None = None, trailers: Fields | None = None
    ) -> None:
        """Send content, after the first fields and before the last ones, if these are given.

        Without trailers more may follow; empty ones end the response, but leave the request open. Waits until the
        client takes it. Raises `CallerGone`.
        """
        self._check(stream)
        self._ping_strikes = 0
        if head is not None:
            self._http2.send_fields(stream.id, head)
        if len(data) <= self._room(stream):
            stream.answering = True
            self._http2.send_content(stream.id, data)
            if trailers is None:
                self._flush()
            else:
                self._end(stream, trailers)
            return
        self._flush()
        await self._send_in_pieces(stream, data)
        if trailers is not None:
            self._end(stream, trailers)

    def finish(self, stream: Stream, fields: Fields) -> None:
        """Send the last fields. Raises `CallerGone`."""
        self._check(stream)
        self._end(stream, fields)

    def consumed(self, stream: Stream, size: int) -> None:
        """Let the client send as many bytes again, of which the stream has made use."""
        if not size or self._failed or self.transport.is_closing():
            return
        if stream.ended or stream.cut:
            self._http2.dropped(size)
        else:
            self._http2.consumed(stream.id, size)
        self._flush()

    # What arrives, as `Http2` tells it.

    def request_received(self, stream: int, fields: list[tuple[bytes, bytes]], *, ended: bool) -> None:
        """Open a stream."""
        self._busy = self._heard
        if not self._accepting or len(self._streams) >= self._limits.streams:
            self._http2.refuse(stream)
            self.noise_received()
            return
        opened = self._opened(self, stream, fields) or _Unsupported(self, stream)
        opened.ended = ended
        self._streams[stream] = opened
        opened.began()

    def content_received(self, stream: int, data: bytes, size: int, *, ended: bool) -> None:
        """Hand content to its stream."""
        receiver = self._streams.get(stream)
        if receiver is None:
            self._http2.dropped(size)
            return
        if not data and not ended:
            self.noise_received()
        self._busy = self._heard
        receiver.ended = ended
        if len(data) < size:
            self.consumed(receiver, size - len(data))  # padding
        receiver.received(data)
        if ended and receiver.answered:
            self._forget(receiver)

    def stream_reset(self, stream: int) -> None:
        """Stop the work for a stream that the client gave up."""
        receiver = self._streams.pop(stream, None)
        self._busy = self._heard
        if receiver is not None:
            self._cut(receiver)
        if receiver is None or not receiver.answering:
            self.noise_received()
        self._close_if_done()

    def window_opened(self, stream: int) -> None:
        """Let those send that waited."""
        if not stream:
            self._wake_next()
        elif (blocked := self._streams.get(stream)) is not None:
            _wake(blocked)

    def ping_received(self) -> None:
        """Count pings that come too often."""
        if self._heard - self._last_ping < _PING_SECONDS:
            self._ping_strikes += 1
            if self._ping_strikes > _MAX_PING_STRIKES:
                self._http2.fail("too_many_pings")
        self._last_ping = self._heard

    def ping_answered(self, payload: bytes) -> None:
        """Say which call was the last, once the client has read that it shall leave."""
        if payload == _LAST and self._goaway_at is not None:
            self._accept_no_more()

    def settings_received(self) -> None:
        """Take the first SETTINGS for the end of the handshake."""
        if self._ready:
            self._count_noise(_SETTINGS_NOISE)
        self._ready = True
        self._wake_next()

    def goaway_received(self) -> None:
        """Close when the last call has ended."""
        self._client_leaves = True
        self._close_if_done()

    def noise_received(self) -> None:
        """Count a frame that has no effect."""
        self._count_noise(1)

    def read(self, until: float) -> bool:
        """Read frames until that time of `perf_counter`; returns whether there may be more."""
        more, self._reading = False, True
        try:
            while more := not self.transport.is_closing() and self._http2.read_frame():
                if perf_counter() >= until:
                    break
            self._hold(0 if self.transport.is_closing() else max(0, self._http2.unread - _UNCOUNTED))
        except ConnectionFailed:
            more = False
            self._fail()
        except Exception:
            logger.exception("a gRPC connection failed")  # the others go on
            more = False
            self.transport.abort()
        self._reading = False
        self._flush()
        if self._failed:
            self.transport.close()
        elif self._waiting and not more:
            self._waiting = False
            self._resume_reading()
        return more

    # The rest.

    def _fail(self) -> None:
        """Give the connection up. What it has to tell the client is ready to be sent."""
        self._failed = True
        self._hold(0)
        self._cut_all()

    @property
    def _parked(self) -> bool:
        return all(stream.parked for stream in self._streams.values())

    def _check(self, stream: Stream) -> None:
        if stream.cut or self.transport.is_closing():
            raise CallerGone

    def _room(self, stream: Stream) -> int:
        """Bytes that a stream may send at once."""
        return 0 if self._paused else min(self._http2.window(stream.id), self._http2.max_content)

    async def _send_in_pieces(self, stream: Stream, data: bytes) -> None:
        until = self._loop.time() + self._limits.write_seconds * (1 + len(data) // _TIMED_BYTES)
        start = 0
        try:
            while start < len(data):
                if (room := self._room(stream)) <= 0:
                    await self._wait(stream, until)
                    continue
                stream.answering = True
                self._http2.send_content(stream.id, data[start : start + room])
                self._flush()
                start += room
        finally:
            self._wake_next()

    async def _wait(self, stream: Stream, until: float) -> None:
        """Wait until the stream may send, or raise `CallerGone`."""
        self._wake_next()
        self._blocked[stream] = None
        stream.blocked = self._loop.create_future()
        try:
            async with asyncio.timeout_at(until):
                await stream.blocked
        except TimeoutError:
            self._give_up(stream)
        finally:
            self._blocked.pop(stream, None)
            stream.blocked = None
        self._check(stream)

    def _wake_next(self) -> None:
        """Let the first stream send that can; it wakes the next one when it has. A window may be opened by one byte."""
        if not self._paused:
            for stream in self._blocked:
                if self._http2.window(stream.id) > 0:
                    _wake(stream)
                    return

    def _end(self, stream: Stream, fields: Fields) -> None:
        if fields:
            self._http2.send_fields(stream.id, fields, ended=True)
        else:
            self._http2.end(stream.id)
        self._ping_strikes = 0
        stream.answered = True
        if fields and not stream.ended:  # the rest of the request is not needed (RFC 9113, section 8.1)
            stream.cut = True
            self._http2.reset(stream.id, NO_ERROR)
        self._flush()
        if stream.ended or stream.cut:
            self._forget(stream)

    def _give_up(self, stream: Stream) -> None:
        """End a stream that takes too long or too much."""
        if not (stream.cut or self.transport.is_closing()):
            self._http2.reset(stream.id, CANCEL)
            self._flush()
            self._cut(stream)
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        """A stream has ended on both sides."""
        self._streams.pop(stream.id, None)
        self._busy = self._loop.time()
        if self._noise and stream.answered:
            self._noise -= 1
        self._close_if_done()

    def _cut(self, stream: Stream) -> None:
        stream.cut = True
        self._blocked.pop(stream, None)
        _wake(stream)
        stream.lost()

    def _cut_all(self) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            self._cut(stream)

    def _close_if_done(self) -> None:
        if not self._streams and (self._client_leaves or not self._accepting):
            self._flush()
            self.transport.close()

    def _accept_no_more(self) -> None:
        if self._accepting:
            self._accepting = False
            self._write(self._http2.take() + self._http2.go_away(self._http2.last_stream))
            self._close_if_done()

    def _count_noise(self, count: int) -> None:
        self._noise += count
        if self._noise > _MAX_NOISE + self._limits.streams:
            self._http2.fail("too many frames without effect")

    def _hold(self, count: int) -> None:
        """Count the bytes of an incomplete frame or header block that are beyond what every connection may have."""
        if count == self._held:
            return
        self._buffers.release(self._held)
        self._held = 0
        try:
            self._held = self._buffers.hold(count)
        except Overloaded as error:
            self._http2.fail(error.message)

    def _flush(self) -> None:
        if not self._reading and (data := self._http2.take()):
            self._write(data)

    def _write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self._written += len(data)
            self.transport.write(data)

    def _resume_reading(self) -> None:
        if not (self._paused or self._waiting or self.transport.is_closing()):
            self.transport.resume_reading()

    def _overdue(self, now: float) -> bool:
        """Whether the client has not read in time what was written at some moment, or not said what it speaks."""
        unread = self.transport.get_write_buffer_size()
        if not unread or self._written - unread >= self._unread_mark:
            self._unread_mark, self._read_at = self._written, now
        handshake = not self._ready and now - self._born > self._limits.handshake_seconds
        return handshake or now - self._read_at > self._limits.write_seconds

    def _watch_age(self, now: float) -> None:
        limits = self._limits
        if self._goaway_at is not None:
            if now - self._goaway_at > _GOAWAY_SECONDS:
                self._accept_no_more()
            if now - self._goaway_at > limits.age_seconds:
                self.transport.abort()
        elif now - self._born > limits.age_seconds or (not self._streams and now - self._busy > limits.idle_seconds):
            self.shutdown()

    def _watch_silence(self, now: float) -> None:
        silence = now - self._heard
        if silence > 2 * self._limits.write_seconds:
            self.transport.abort()
        elif silence > self._limits.write_seconds and self._ready:
            self._http2.ping(_ALIVE)
            self._flush()


class _Unsupported(Stream):
    """A request that is none of gRPC's. It is answered, and stays open for some time until the client ends it."""

    __slots__ = ("_complete", "_connection", "_task")

    def __init__(self, connection: Connection, identity: int) -> None:
        super().__init__(identity)
        self._connection = connection
        self._complete = asyncio.Event()

    @property
    def parked(self) -> bool:
        return True

    def began(self) -> None:
        self._task = self._connection._loop.create_task(self._answer())
        self.received(b"")

    def received(self, data: bytes) -> None:
        self._connection.consumed(self, len(data))
        if self.ended:
            self._complete.set()

    def lost(self) -> None:
        self._task.cancel()

    def watch(self, now: float) -> None:
        pass

    async def _answer(self) -> None:
        connection, held = self._connection, 0
        try:
            held = connection._buffers.hold(_UNSUPPORTED_BYTES)
            await connection.send(self, _UNSUPPORTED, head=_UNSUPPORTED_HEAD, trailers=())
            async with asyncio.timeout(connection._limits.write_seconds):
                await self._complete.wait()
        except CallerGone:
            pass
        except (Overloaded, TimeoutError):
            connection._give_up(self)
        finally:
            connection._buffers.release(held)


def _wake(stream: Stream) -> None:
    if stream.blocked is not None and not stream.blocked.done():
        stream.blocked.set_result(None)
