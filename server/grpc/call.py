"""One call: its messages, its deadline, and the memory that it holds.

Source: "gRPC over HTTP2" in the gRPC documentation. Violations of gRPC are rejected here, violations of HTTP/2 by the
connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from sentiment_conv1d.server.errors import (
    ClientDisconnected,
    DeadlineExceeded,
    Malformed,
    RequestError,
    RequestTimeout,
    ShutDown,
    Unavailable,
)
from sentiment_conv1d.server.grpc.call_context import CallContext
from sentiment_conv1d.server.grpc.connection import GrpcConnection
from sentiment_conv1d.server.grpc.http2 import Head
from sentiment_conv1d.server.grpc.messages import Message, Messages, encode, only_message
from sentiment_conv1d.server.grpc.method import Method
from sentiment_conv1d.server.grpc.status import as_refusal, error_fields
from sentiment_conv1d.server.grpc.stream import Stream
from sentiment_conv1d.server.grpc.timeout import seconds_of
from sentiment_conv1d.server.network.buffers import BODY_FACTOR

Trailers = list[tuple[bytes, bytes]]

_OK = (b"grpc-status", b"0")
_HEAD = Head(200, [(b"content-type", b"application/grpc")])
_GZIP_HEAD = Head(200, [*_HEAD.fields, (b"grpc-encoding", b"gzip")])

#: Memory of an open call without its header fields and messages, and of a queued message without its content.
CALL_BYTES = 8192
_MESSAGE_BYTES = 128

#: Bytes of queued messages from which on the client must wait before it sends more.
_AHEAD_BYTES = 32_768

#: Seconds during shutdown that a stream may wait for its next message, and that a stream whose messages never stop may
#: continue.
_IDLE_SECONDS = 0.2
_LINGER_SECONDS = 5.0

#: Timers of the event loop can be early by a few milliseconds.
_PRECISION_SECONDS = 0.01

#: Answers of up to this many bytes are not charged while they wait to be sent. `CALL_BYTES` covers them.
_UNCOUNTED_BYTES = 4096


@dataclass(slots=True, eq=False, repr=False)
class Call(Stream):
    """A call of a method."""

    _connection: GrpcConnection
    path: bytes
    fields: Mapping[bytes, bytes]
    method: Method
    _context: CallContext
    _loop: asyncio.AbstractEventLoop
    started: float = field(default_factory=perf_counter)
    request_id: str = ""
    trailing: Trailers = field(default_factory=list)  # fields to send with the status
    status: str | None = None  # a name of `google.rpc.Code`, once it is known
    begun: bool = False  # whether its task runs
    failure: RequestError | None = None  # why no more messages are read
    _task: asyncio.Task[None] | None = None
    _complete: deque[Message] = field(default_factory=deque)
    _queued: int = 0  # bytes of these
    _working: int = 0  # bytes of the messages that are being answered
    _messages: Messages | None = None  # while a message is incomplete
    _incomplete_since: float = 0.0
    _kept: int = 0  # bytes held until the end of the call
    _held: int = 0  # bytes charged to the buffers
    _behind: bool = False  # whether the client must wait
    _waiting: asyncio.Future[None] | None = None  # done when a message arrives
    _waiting_since: float = 0.0
    _head_sent: bool = False
    _until: float | None = None  # the deadline as the event loop's time
    _timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Run the method. An exception becomes the status of the call."""
        self.begun = True
        try:
            await self.method.run(self)
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            if self.failure is None:
                raise
            self.refuse(self.failure)  # the deadline, or the time for shutdown, has passed
        except Exception as error:
            self.refuse(error)
        finally:
            self.release()
            self._context.ended(self)

    # Called by the method.

    def remaining(self) -> float | None:
        """Return the seconds until the client's deadline, or None if it set none."""
        return None if self._until is None else self._until - self._loop.time()

    @property
    def overdue(self) -> bool:
        """Whether the client's deadline has passed, within the precision of timers."""
        remaining = self.remaining()
        return remaining is not None and remaining < _PRECISION_SECONDS

    @property
    def client(self) -> str | None:
        """The client's IP address, or None over a Unix domain socket."""
        peer = self._connection.transport.get_extra_info("peername")
        return peer[0] if isinstance(peer, tuple) else None

    async def message(self) -> bytes:
        """Return the only message of a unary call. Raises `RequestError` if there is none."""
        if self.failure is not None:
            raise self.failure
        if not self._complete:
            raise Malformed("the method takes one message, and there is none")
        return await self._pop()

    async def read(self) -> bytes | None:
        """Return the next message of a stream, or None after the last one. Raises `RequestError`."""
        self._working = 0
        while not self._complete:
            if self.failure is not None:
                raise self.failure
            if self.ended:
                return None
            self._count()
            await self._wait()
        return await self._pop()

    def more(self, message: bytes, most: int, size: int) -> list[bytes]:
        """Return the queued messages after `message`: with it, up to `most` messages and `size` bytes in all."""
        messages: list[bytes] = []
        size -= len(message)
        while self._complete and len(messages) + 1 < most and isinstance(following := self._complete[0], bytes):
            size -= len(following)
            if size < 0:
                break
            self._take_next()
            messages.append(following)
        return messages

    async def write(self, *messages: bytes) -> None:
        """Send messages. More can follow. Raises `ClientDisconnected`."""
        await self._send(messages)

    async def answer(self, message: bytes) -> None:
        """Send the only message and status OK. Raises `ClientDisconnected`."""
        await self._send((message,), [_OK, *self.trailing])
        self.status = "OK"

    def end(self) -> None:
        """End the call with status OK. Raises `ClientDisconnected`."""
        self._finish([_OK, *self.trailing])
        self.status = "OK"

    def refuse(self, error: Exception) -> None:
        """End the call with the status of an error, unless the client has disconnected."""
        refusal = as_refusal(error, self.path.decode("latin-1"))
        self.status = refusal.grpc_status
        if not self.cut:
            with contextlib.suppress(ClientDisconnected):
                self._finish([*error_fields(refusal, self.request_id), *self.trailing])

    # Called by the connection.

    @property
    def parked(self) -> bool:
        """Whether the call waits for a message or for a change of the server's state."""
        return self._task is None or self._waiting is not None or (self.method.watching and self.begun)

    def began(self) -> None:
        """Read the deadline, and start the method if it need not wait for the message."""
        self._kept = CALL_BYTES + sum(map(len, self.fields.values()))
        if (timeout := self.fields.get(b"grpc-timeout")) is not None:
            self._take_timeout(timeout)
        self._count()
        if self.method.streaming or self.ended or self.failure is not None:
            self._run()

    def received(self, data: bytes) -> None:
        """Queue the messages that content completes."""
        if self.failure is not None or self.status is not None:
            return  # it is not read any more
        if self._messages is None and (message := only_message(data, self._context.message_bytes)) is not None:
            self._push(message)
        elif data:
            self._take(data)
        if self.ended and self._messages is not None:
            self._fail(Malformed("the last message is not complete"))
        if data:
            self._count()
        if self.method.streaming:
            self._wake()
        elif self.ended:
            self._run()

    def lost(self) -> None:
        """Stop the work."""
        if self._task is not None:
            self._task.cancel()
        self.release()  # a task that has not begun does not call it

    def watch(self, now: float) -> None:
        """Enforce the time limits of incomplete messages, of calls before they begin, and of all calls at shutdown.

        A client that is reading its answer when the time for shutdown is over can finish reading.
        """
        if self._context.expired and self.status is None and self.blocked is None:
            self.failure = None  # of a stream whose last messages are still being answered
            self._stop(ShutDown("the server is shutting down, and the call did not end in time"))
            return
        if self.failure is not None or self.status is not None:
            return
        if self.method.streaming and self._context.left_at is not None:
            self._watch_shutdown(now, self._context.left_at)
        if self._messages is None and self._task is not None:
            return
        if not self._incomplete_since:
            self._incomplete_since = now
        seconds = self._context.message_seconds
        if now - self._incomplete_since > seconds:
            self._fail(RequestTimeout(f"a message was not complete after {seconds:g} s"))
        elif self._task is None and self._until is not None and now > self._until:
            self._expire()

    def _watch_shutdown(self, now: float, left_at: float) -> None:
        """End a stream if no message arrives for a while. The messages that have arrived are still answered."""
        idle = self._waiting is not None and now - max(left_at, self._waiting_since) > _IDLE_SECONDS
        if idle or now - left_at > _LINGER_SECONDS:
            self._fail(Unavailable("the server is shutting down; every message before was answered"))

    def release(self) -> None:
        """Drop the messages and release the memory."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._complete.clear()
        self._messages = None
        if self.failure is not None:
            self.failure.__traceback__ = None  # its frames refer to this call: a reference cycle
        self._context.buffers.release(self._held)
        self._held = 0

    async def _send(self, messages: Sequence[bytes], trailers: Trailers | None = None) -> None:
        """Send messages, and end the response if `trailers` are given. Raises `ClientDisconnected`."""
        accepted = self.fields.get(b"grpc-accept-encoding", b"")
        data = b"".join([await encode(message, accepted) for message in messages])
        buffers = self._context.buffers
        held = buffers.hold(len(data)) if len(data) > _UNCOUNTED_BYTES else 0
        head = None
        if not self._head_sent:
            more = trailers is None and b"gzip" in accepted  # so that later messages can be compressed
            head = _GZIP_HEAD if more or data[0] else _HEAD
            self._head_sent = True
        try:
            await self._connection.sender.send(self, data, head=head, trailers=trailers)
        finally:
            buffers.release(held)

    def _finish(self, trailers: Trailers) -> None:
        """End the response without a further message. Raises `ClientDisconnected`."""
        sender = self._connection.sender
        if self._head_sent:
            sender.finish(self, None, trailers)
        else:
            sender.finish(self, Head(_HEAD.status, [*_HEAD.fields, *trailers]), ())

    def _take_timeout(self, timeout: bytes) -> None:
        try:
            self._until = self._loop.time() + seconds_of(timeout)
        except Malformed as error:
            self._fail(error)
            return
        if self.method.streaming or self.method.watching:
            self._timer = self._loop.call_at(self._until, self._expire)

    async def _wait(self) -> None:
        """Wait for a message. The call is not in flight meanwhile."""
        running, waiting, task = self._context.running, self._context.waiting, self._task
        assert task is not None
        self._waiting = self._loop.create_future()
        self._waiting_since = self._loop.time()
        running.discard(task)
        waiting.add(task)
        try:
            await self._waiting
        finally:
            self._waiting = None
            waiting.discard(task)
            running.add(task)

    def _expire(self) -> None:
        """Fail the call: the client's deadline has passed."""
        self._stop(DeadlineExceeded("the deadline has passed"))

    def _stop(self, error: RequestError) -> None:
        """Fail the call without answering the messages that have arrived."""
        self._fail(error)
        if self._task is not None and self.begun:  # a task that is cancelled before it begins sends no status
            self._task.cancel()

    def _take(self, data: bytes) -> None:
        """Queue the messages in content that is not exactly one message."""
        if self._messages is None:
            encoding = self.fields.get(b"grpc-encoding", b"identity")
            self._messages = Messages(self._context.message_bytes, encoding)
            self._incomplete_since = self._loop.time()
        try:
            for message in self._messages.feed(data):
                self._push(message)
                self._incomplete_since = self._loop.time()
        except RequestError as error:
            self._fail(error)
        if self._messages is not None and not self._messages.incomplete:
            self._messages = None

    def _push(self, message: Message) -> None:
        if self._complete and not self.method.streaming:
            self._fail(Malformed("the method takes one message, and there are more"))
            return
        self._complete.append(message)
        self._queued += len(message) + _MESSAGE_BYTES

    def _take_next(self) -> Message:
        message = self._complete.popleft()
        size = len(message)
        self._queued -= size + _MESSAGE_BYTES
        self._working += size
        if self._behind:
            self._count()
        return message

    async def _pop(self) -> bytes:
        message = self._take_next()
        if isinstance(message, bytes):
            return message
        return await self._context.decompression.expand(message, self.fields[b"grpc-encoding"], self._work_on)

    def _work_on(self, size: int) -> None:
        """Charge more bytes of the message that is being decompressed. Raises `Overloaded`."""
        self._held += self._context.buffers.hold(BODY_FACTOR * size)
        self._working += size

    def _count(self) -> None:
        """Update the charged memory, and let the client wait if many messages are queued."""
        content = self._queued + self._working
        if self._messages is not None:
            content += self._messages.incomplete
        held = self._kept + BODY_FACTOR * content
        change = held - self._held
        if change > 0:
            try:
                self._held += self._context.buffers.hold(change)
            except RequestError as error:
                self._fail(error)
        elif change:
            self._context.buffers.release(-change)
            self._held = held
        if (self._queued > _AHEAD_BYTES) != self._behind:
            self._behind = not self._behind
            self._connection.fall_behind(self, behind=self._behind)

    def _run(self) -> None:
        """Start the method."""
        if self._task is None:
            self._connection.turns.spend()
            self._task = self._loop.create_task(self.run())
            tasks = self._context.waiting if self.method.watching else self._context.running
            tasks.add(self._task)
            self._task.add_done_callback(tasks.discard)

    def _fail(self, error: RequestError) -> None:
        """Stop reading messages because of an error."""
        if self.failure is None:
            self.failure = error
            self._messages = None
            self._wake()
            if not self.method.streaming:
                self._run()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
