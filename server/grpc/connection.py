"""One connection: its streams, and the limits on the memory and the work that a client can cause.

Source: RFC 9113, and "gRPC over HTTP2" and "Keepalive" in the gRPC documentation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from time import perf_counter

from sentiment_conv1d.server.errors import ClientDisconnected, Overloaded
from sentiment_conv1d.server.grpc.call_context import ConnectionLimits
from sentiment_conv1d.server.grpc.deadlines import Deadlines
from sentiment_conv1d.server.grpc.frame_limits import FrameLimits
from sentiment_conv1d.server.grpc.http2 import (
    REFUSED,
    ConnectionFailed,
    Fields,
    Http2,
    LimitExceeded,
)
from sentiment_conv1d.server.grpc.sender import Sender
from sentiment_conv1d.server.grpc.stream import Stream
from sentiment_conv1d.server.grpc.unsupported import CONTENT, HEAD, HTTP1_METHODS, HTTP1_REFUSAL
from sentiment_conv1d.server.log_limit import LogLimit
from sentiment_conv1d.server.network.buffers import Buffers, Charge
from sentiment_conv1d.server.network.shares import LOCAL
from sentiment_conv1d.server.network.turns import Turns

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

#: The payloads of the server's pings. The answer to the second one proves that the client has read the GOAWAY.
_ALIVE = b"alive?\0\0"
_LAST = b"the last"

#: Seconds to wait for the answer to the second ping.
_GOAWAY_SECONDS = 1.0

#: Unsent bytes above which a connection neither reads nor writes.
_HIGH_WATER = 24_576


@dataclass(eq=False, repr=False)
class GrpcConnection(asyncio.Protocol):
    """Reads a client's frames and passes them to its streams.

    It calls `failed` if what arrives is refused. For every request it calls `open_stream` with the stream's id and the
    request's method, path and header fields, which have names in lower case. If `open_stream` returns None, the request
    gets HTTP status 415. `open_stream` calls `admit` if the request shows that the client has access. A client that
    closes its half of the connection counts as disconnected, because it can no longer open windows.
    """

    transport: asyncio.Transport = field(init=False)
    _loop: asyncio.AbstractEventLoop
    _limits: ConnectionLimits
    turns: Turns
    _buffers: Buffers
    _open_stream: Callable[[GrpcConnection, int, bytes, bytes, Fields], Stream | None]
    _lost: Callable[[GrpcConnection], None]
    _failed: Callable[[str], None] = lambda reason: None
    _admit: Callable[[GrpcConnection], None] = lambda connection: None

    def __post_init__(self) -> None:
        self._streams: dict[int, Stream] = {}
        self.caller = ""  # whose memory it takes: the client's address, or its key of the latest call
        self._held, self._unsent = Charge(self._buffers), Charge(self._buffers)  # received, and still to be written
        self._ready = self._client_leaves = self._gone = False  # whether SETTINGS, a GOAWAY, and the end have arrived
        self._waiting = False  # whether it waits for its turn to read
        self.admitted = False  # whether the client has shown that it has access
        self._reading = False  # while frames are read; responses are written afterwards
        self._goaway_at: float | None = None  # when the first GOAWAY was sent
        self._accepting = True  # new streams, until the second GOAWAY
        self._ended_at: float | None = None  # when nothing more is written, and the client is expected to close
        self._written = 0  # bytes in all

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the client's preface."""
        self.transport = transport
        self.caller = self._held.caller = self.client or LOCAL
        # Not earlier, because it is a reference cycle, and a TLS handshake can fail.
        self._http2 = Http2(self, self._limits.streams)
        self._deadlines = Deadlines(self._limits, self._loop.time())
        self._frame_limits = FrameLimits(self._http2.fail)
        self.sender = Sender(self._loop, self._http2, self._limits.write_seconds, self._sent, self._ended)
        transport.set_write_buffer_limits(_HIGH_WATER)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all streams, in turns, because thousands can be lost at once."""
        self._hold(0)
        self._unsent.release()
        self._http2.release()
        self.sender.release()
        self._lost(self)
        self._gone = True
        self.turns.read_or_wait(self, 0)

    def data_received(self, data: bytes) -> None:
        """Read the complete frames, now or when it is this connection's turn."""
        self._deadlines.heard = self._loop.time()
        if not self._written and data.startswith(HTTP1_METHODS):
            self._failed("malformed")
            self._write(HTTP1_REFUSAL)
            self.transport.close()
            return
        self._http2.receive(data)
        if not self._waiting and self.turns.read_or_wait(self, len(data)):
            self._waiting = True
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its answers."""
        self.sender.paused = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume reading and sending."""
        self.sender.paused = False
        self._deadlines.heard = self._loop.time()  # reading was paused, so the silence was not the client's
        self._resume_reading()
        self.sender.wake_next()

    @property
    def streams(self) -> Collection[Stream]:
        """The open streams."""
        return self._streams.values()

    @property
    def client(self) -> str | None:
        """The client's IP address, or None over a Unix domain socket."""
        peer = self.transport.get_extra_info("peername")
        return peer[0] if isinstance(peer, tuple) else None

    @property
    def idle_until(self) -> float | None:
        """When the connection times out: it has no calls, or only calls that wait. None while a call runs."""
        if self._waiting or self.transport.is_closing() or self.transport.get_write_buffer_size():
            return None
        if self._ready and not self._parked:
            return None
        return self._deadlines.idle_until(ready=self._ready)

    @property
    def running(self) -> bool:
        """Whether a call waits for the service, or for the turn in which what has arrived is read."""
        return self._waiting or any(not each.parked and each.blocked is None for each in self._streams.values())

    def admit(self) -> None:
        """Note that the client has access. Raises `Unavailable` if there is no place for its connection."""
        if not self.admitted:
            self._admit(self)

    def enforce_timeouts(self, now: float) -> None:
        """Enforce time limits. Called about once a second with the event loop's time."""
        if self._ended_at is not None and now - self._ended_at > _GOAWAY_SECONDS:
            self.transport.close()
        self._frame_limits.forgive()
        deadlines = self._deadlines
        if not self._parked:
            deadlines.busy = now
        unsent = self.transport.get_write_buffer_size()
        self._unsent.replace(unsent, self.caller)
        complete = not self._held.held
        if deadlines.passed(now, ready=self._ready, complete=complete, written=self._written, unsent=unsent):
            self.transport.abort()
        elif not self.transport.is_closing():
            self._check_age(now)
            if not self.sender.paused:
                self._check_silence(now)
        for stream in list(self._streams.values()):
            stream.enforce_timeouts(now)

    def shutdown(self) -> None:
        """Ask the client to use another connection, and finish the calls on this one.

        This takes two GOAWAY frames, so that calls which the client starts before it reads the first one are answered.
        """
        if self._goaway_at is None and not self.transport.is_closing():
            self._goaway_at = self._loop.time()
            if not self._ready:
                self.transport.close()
                return
            self._http2.announce_shutdown()
            self._http2.ping(_LAST)
            self._flush()

    def fall_behind(self, stream: Stream, *, behind: bool) -> None:
        """Stop or resume a client that sends messages on a stream faster than they are answered."""
        if behind:
            self._http2.withhold(stream.id)
        else:
            self._http2.grant(stream.id)
            self._flush()

    def request_received(self, stream: int, method: bytes, path: bytes, fields: Fields, *, ended: bool) -> None:
        """Open a stream."""
        self._deadlines.busy = self._deadlines.heard
        if not self._accepting:
            self._http2.reset(stream, REFUSED)
            self._frame_limits.count_without_effect()
            return
        if (new := self._open_stream(self, stream, method, path, fields)) is None:
            fits = self._http2.window(stream) >= len(CONTENT)  # otherwise the client gets the status alone
            with contextlib.suppress(ClientDisconnected):  # it has violated the protocol after the request
                self._http2.send(stream, head=HEAD, data=CONTENT if fits else b"", trailers=(), reset=not ended)
            return
        new.ended = ended
        self._streams[stream] = new
        new.opened()

    def content_received(self, stream: int, data: bytes, *, ended: bool) -> None:
        """Pass content to its stream."""
        if (receiver := self._streams.get(stream)) is None:
            return
        if not data and not ended:
            self._frame_limits.count_without_effect()
        self._deadlines.busy = self._deadlines.heard
        receiver.ended = ended
        receiver.received(data)

    def stream_reset(self, stream: int) -> None:
        """Stop a stream that the client has reset.

        Resets are limited, because a client could start work without a limit and give it up. A call whose deadline has
        passed, or that has been answered, is no such work.
        """
        self._deadlines.busy = self._deadlines.heard
        if (receiver := self._streams.pop(stream, None)) is None:
            return
        early = not receiver.overdue
        self._cut(receiver)
        if early:
            self._count_reset()
        self._close_if_done()

    def stream_refused(self, stream: int) -> None:
        """Stop a stream on which the client has violated the protocol, and count it like a reset by the client.

        It can have failed before it was a call, or have been one too many.
        """
        self._deadlines.busy = self._deadlines.heard
        if (receiver := self._streams.pop(stream, None)) is not None:
            self._cut(receiver)
        self._count_reset()
        self._close_if_done()

    def window_opened(self) -> None:
        """Resume a stream that waits to send."""
        self.sender.wake_next()

    def ping_received(self, payload: bytes, *, answer: bool) -> None:
        """Count pings that come too often. The answer to the last ping means that the client has read the GOAWAY."""
        if answer:
            if payload == _LAST and self._goaway_at is not None:
                self._accept_no_more()
            return
        self._frame_limits.count_ping(self._deadlines.heard)

    def settings_received(self) -> None:
        """The first SETTINGS end the handshake."""
        if self._ready:
            self._frame_limits.count_without_effect()
        self._ready = True
        self.sender.wake_next()

    def goaway_received(self) -> None:
        """Close the connection after the last call."""
        self._client_leaves = True
        self._close_if_done()

    def read(self, until: float) -> bool:
        """Read until `until`, a time of `perf_counter`. Returns whether there may be more to read."""
        if self._gone:
            return self._cut_until(until)
        more, self._reading, failed = False, True, True
        try:
            more = not self.transport.is_closing() and self._http2.read(until)
            self._hold(0 if self.transport.is_closing() else self._http2.held)
            failed = False
        except ConnectionFailed as error:
            self._failed(error.reason)
            if isinstance(error, LimitExceeded):
                logger.warning("ended a gRPC connection: %s", error, extra={"client": self.client})
        except Exception:
            logger.exception("a gRPC connection failed")  # a defect must not affect other connections
        self._reading = False
        self._flush()
        if failed:
            self._hold(0)
            self._cut_until(float("inf"))
            self.transport.close()
            return False
        self._close_if_done()
        if self._waiting and not more:
            self._waiting = False
            self._resume_reading()
        return more

    @property
    def _parked(self) -> bool:
        return all(stream.parked for stream in self._streams.values())

    def _ended(self, stream: Stream) -> None:
        """Forget a stream whose response is complete or cancelled."""
        self._streams.pop(stream.id, None)
        self._deadlines.busy = self._loop.time()
        self._close_if_done()

    def _count_reset(self) -> None:
        if self._frame_limits.count_reset():
            self.shutdown()

    def _cut(self, stream: Stream) -> None:
        stream.cut = True
        stream.wake()
        stream.lost()

    def _cut_until(self, until: float) -> bool:
        """Stop a stream, and more until a time of `perf_counter`. Returns whether there may be more."""
        while self._streams:
            self._cut(self._streams.popitem()[1])
            self.turns.spend()
            if perf_counter() >= until:
                return True
        return False

    def _close_if_done(self) -> None:
        # While frames are read, responses to them have not been written yet.
        if not (self._reading or self._streams) and (self._client_leaves or not self._accepting):
            self._flush()
            # The client should close first: what it still sends would cause a reset, which can overtake answers.
            if self._client_leaves:
                self.transport.close()
            elif self._ended_at is None and not self.transport.is_closing():
                self._ended_at = self._loop.time()
                self.transport.write_eof()

    def _accept_no_more(self) -> None:
        if self._accepting:
            self._accepting = False
            self._http2.go_away()
            self._flush()
            self._close_if_done()

    def _hold(self, count: int) -> None:
        """Charge the memory of an incomplete header block, or of events that wait to be read."""
        try:
            self._held.add(count - self._held.held)
        except Overloaded as error:
            self._http2.fail(error.message)

    def _flush(self) -> None:
        if not self._reading and (data := self._http2.data_to_send()):
            self._write(data)

    def _sent(self) -> None:
        """Write a stream's frames."""
        self._frame_limits.answered()
        self._flush()

    def _write(self, data: bytes) -> None:
        if self._ended_at is None and not self.transport.is_closing():
            self._written += len(data)
            self.transport.write(data)

    def _resume_reading(self) -> None:
        if not (self.sender.paused or self._waiting or self.transport.is_closing()):
            self.transport.resume_reading()

    def _check_age(self, now: float) -> None:
        if self._goaway_at is not None:
            if now - self._goaway_at > _GOAWAY_SECONDS:
                self._accept_no_more()
            if now - self._goaway_at > self._limits.age_seconds:
                self.transport.abort()
        elif self._deadlines.aged(now, empty=not self._streams):
            self.shutdown()

    def _check_silence(self, now: float) -> None:
        silence = now - self._deadlines.heard
        if silence > 2 * self._limits.write_seconds:
            self.transport.abort()
        elif silence > self._limits.write_seconds and self._ready:
            self._http2.ping(_ALIVE)
            self._flush()
