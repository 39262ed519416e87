"""One call: its messages, its deadline, its answer, and the memory that it holds.

Source: "gRPC over HTTP2" in the gRPC documentation. Violations of gRPC are rejected here, violations of HTTP/2 by the
connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from time import perf_counter
from typing import Any

from sentiment_conv1d.server.errors import (
    ClientDisconnected,
    DeadlineExceeded,
    Malformed,
    MessageTooLarge,
    RequestError,
    RequestTimeout,
    ShutDown,
    Unavailable,
)
from sentiment_conv1d.server.grpc.call_context import CallContext
from sentiment_conv1d.server.grpc.connection import GrpcConnection
from sentiment_conv1d.server.grpc.http2 import Head
from sentiment_conv1d.server.grpc.inbox import Inbox, Message
from sentiment_conv1d.server.grpc.messages import encode, wrap
from sentiment_conv1d.server.grpc.method import Method
from sentiment_conv1d.server.grpc.status import as_refusal, error_fields
from sentiment_conv1d.server.grpc.stream import Stream
from sentiment_conv1d.server.grpc.timeout import seconds_of
from sentiment_conv1d.server.network.buffers import BODY_FACTOR, Charge
from sentiment_conv1d.server.network.compression import expand
from sentiment_conv1d.server.network.shares import evicted
from sentiment_conv1d.server.network.turns import TASK_SECONDS

Trailers = list[tuple[bytes, bytes]]

_OK = (b"grpc-status", b"0")
_HEAD = Head(200, [(b"content-type", b"application/grpc")])
_GZIP_HEAD = Head(200, [*_HEAD.fields, (b"grpc-encoding", b"gzip")])

#: Memory of an open call without its header fields and messages.
CALL_BYTES = 8192

#: Bytes of queued messages from which on the client must wait before it sends more.
_AHEAD_BYTES = 32_768

#: Seconds during shutdown that a stream may wait for its next message, and that a stream whose messages never stop may
#: continue.
_IDLE_SECONDS = 0.2
_LINGER_SECONDS = 5.0

#: Timers of the event loop can be early by a few milliseconds.
_PRECISION_SECONDS = 0.01

#: Seconds of the event loop that a call takes whose method always needs a task, such as one that describes models.
_METHOD_SECONDS = 0.0003

#: Answers of up to this many bytes are not charged while they wait to be sent. `CALL_BYTES` covers them.
_UNCOUNTED_BYTES = 4096


class Phase(Enum):
    """What a call does."""

    RECEIVING = auto()  # waits for its message; the method has not started
    SCHEDULED = auto()  # its task has not begun
    RUNNING = auto()  # its task has begun
    STARTED = auto()  # its method has started without a task, and calls `reply`
    ENDED = auto()


#: Python 3.11 looks up a member of an enum eight times as slowly as a global.
RECEIVING, SCHEDULED, RUNNING, STARTED, ENDED = Phase


@dataclass(slots=True, eq=False, repr=False)
class Call(Stream):
    """A call of a method.

    The method gets messages with `message`, `read` and `more`. It sends with `write` and `end`, or `answer`, or with
    `reply` if it has no task. The connection calls the methods of `Stream`.
    """

    _connection: GrpcConnection
    path: bytes
    fields: Mapping[bytes, bytes]
    method: Method
    _context: CallContext
    _loop: asyncio.AbstractEventLoop
    started: float = field(default_factory=perf_counter)
    phase: Phase = RECEIVING
    request_id: str = ""
    context: Any = None  # what the application knows about a call that has begun
    status: str | None = None  # a name of `google.rpc.Code`, once it is known
    failure: RequestError | None = None  # why no more messages are read
    trailing: Trailers = field(default_factory=list)  # fields to send with the status
    lost_before_reply: Callable[[], None] | None = None  # called if a call without a task is cancelled
    charge: Charge = field(init=False)  # the memory that it holds
    _inbox: Inbox = field(init=False)
    _incomplete_since: float = 0.0  # when the message that is awaited began to arrive, or 0
    _working: int = 0  # bytes of the messages that are being answered
    _kept: int = 0  # bytes held until the end of the call
    _behind: bool = False  # whether the client must wait
    _waiting: asyncio.Future[None] | None = None  # done when a message arrives
    _waiting_since: float = 0.0
    _head_sent: bool = False
    _task: asyncio.Task[None] | None = None
    _until: float | None = None  # the deadline as the event loop's time
    _timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        caller, method = self._connection.caller, self.method
        self.charge = Charge(self._context.buffers, caller, self._evict)
        self._inbox = Inbox(
            self._limit,
            self.fields.get(b"grpc-encoding", b"identity"),
            lambda length: method.admit(length, caller),
            not method.streaming,
        )

    @property
    def overdue(self) -> bool:
        """Whether the client's deadline has passed, within the precision of timers."""
        remaining = self.remaining()
        return remaining is not None and remaining < _PRECISION_SECONDS

    @property
    def client(self) -> str | None:
        """The client's IP address, or None over a Unix domain socket."""
        return self._connection.client

    def remaining(self) -> float | None:
        """Return the seconds until the client's deadline, or None if it set none."""
        return None if self._until is None else self._until - self._loop.time()

    async def message(self) -> bytes:
        """Return the only message of a unary call. Raises `RequestError` if there is none."""
        if self.failure is not None:
            raise self.failure
        if self._inbox.first is None:
            raise Malformed("the method takes one message, and there is none")
        return await self._next()

    async def read(self) -> bytes | None:
        """Return the next message of a stream, or None after the last one. Raises `RequestError`."""
        self._working = 0
        while self._inbox.first is None:
            if self.failure is not None:
                raise self.failure
            if self.ended:
                return None
            self._count()
            await self._wait()
        return await self._next()

    def more(self, message: bytes, most: int, size: int) -> list[bytes]:
        """Return the queued messages after `message`: with it, up to `most` messages and `size` bytes in all."""
        messages: list[bytes] = []
        size -= len(message)
        while len(messages) + 1 < most and isinstance(following := self._inbox.first, bytes):
            size -= len(following)
            if size < 0:
                break
            self._pop()
            messages.append(following)
        return messages

    async def write(self, *messages: bytes) -> None:
        """Send messages. More can follow. Raises `ClientDisconnected`."""
        await self._send(messages)

    async def answer(self, message: bytes) -> None:
        """Send the only message and status OK. Raises `ClientDisconnected`."""
        await self._send((message,), [_OK, *self.trailing])
        self.status = "OK"

    def reply(self, result: bytes | BaseException) -> None:
        """Send the only message or an error, and end a call that has no task."""
        if self.failure is not None:
            result = self.failure
        if isinstance(result, bytes):
            if not self.cut and not self._send_at_once(result):
                self._start_task(partial(self.answer, result))
                return
        elif isinstance(result, Exception) and not isinstance(result, ClientDisconnected):
            self.refuse(result)
        self._end()

    def end(self) -> None:
        """End the call with status OK. Raises `ClientDisconnected`."""
        self._finish([_OK, *self.trailing])
        self.status = "OK"

    def refuse(self, error: Exception) -> None:
        """End the call with the status of an error, unless the client has disconnected."""
        refusal = as_refusal(error, self.path.decode("latin-1"), self.request_id)
        self.status = refusal.grpc_status
        if not self.cut:
            with contextlib.suppress(ClientDisconnected):
                self._finish([*error_fields(refusal, self.request_id), *self.trailing])

    @property
    def parked(self) -> bool:
        """Whether the call waits for a message or for a change of the server's state."""
        watching = self.method.watching and self.phase is RUNNING
        return self.phase is RECEIVING or self._waiting is not None or watching

    def opened(self) -> None:
        """Read the deadline, and start the method if it need not wait for the message."""
        self._kept = CALL_BYTES + sum(map(len, self.fields.values()))
        if (timeout := self.fields.get(b"grpc-timeout")) is not None:
            self._read_timeout(timeout)
        self._count()
        if self.method.streaming or self.ended or self.failure is not None:
            self._run()

    def received(self, data: bytes) -> None:
        """Queue the messages that content completes."""
        if self.failure is not None or self.status is not None:
            return  # it is not read any more
        inbox = self._inbox
        try:
            continued = bool(inbox.incomplete)
            completed = inbox.add(data)
            if inbox.incomplete and (completed or not continued):
                self._incomplete_since = self._loop.time()
        except RequestError as error:
            self._fail(error)
        if self.ended and inbox.incomplete:
            self._fail(Malformed("the last message is not complete"))
        if data:
            self._count()
        if self.method.streaming:
            self._wake()
        elif self.ended:
            self._run()

    def lost(self) -> None:
        """Stop the work."""
        if self.phase is STARTED:
            if self.lost_before_reply is not None:
                self.lost_before_reply()
        elif self._task is not None:
            self._task.cancel()
            if self.phase is SCHEDULED:  # a task that has not begun does not end the call
                self._task = None  # it keeps the cancellation, whose traceback refers to this call
                if self.context is not None:
                    self._context.ended(self)
        self._release()

    def enforce_timeouts(self, now: float) -> None:
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
            self._check_shutdown(now, self._context.left_at)
        receiving = self.phase is RECEIVING
        if not (receiving or self._inbox.incomplete):
            return
        if not self._incomplete_since:
            self._incomplete_since = now
        seconds = self._context.message_seconds
        if now - self._incomplete_since > seconds:
            self._fail(RequestTimeout(f"a message was not complete after {seconds:g} s"))
        elif receiving and self._until is not None and now > self._until:
            self._expire()

    def _check_shutdown(self, now: float, left_at: float) -> None:
        """End a stream if no message arrives for a while. The messages that have arrived are still answered."""
        idle = self._waiting is not None and now - max(left_at, self._waiting_since) > _IDLE_SECONDS
        if idle or now - left_at > _LINGER_SECONDS:
            self._fail(Unavailable("the server is shutting down; every message before was answered"))

    @property
    def _limit(self) -> int:
        """The most bytes of a message."""
        return self.method.message_bytes or self._context.message_bytes

    async def _wait(self) -> None:
        """Wait for a message."""
        self._waiting = self._loop.create_future()
        self._waiting_since = self._loop.time()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
            self._connection.turns.spend()

    def _pop(self) -> Message:
        message = self._inbox.pop()
        self._working += len(message)
        if self._behind:
            self._count()
        return message

    async def _next(self) -> bytes:
        message = self._pop()
        if isinstance(message, bytes):
            return message
        encoding, lock = self.fields[b"grpc-encoding"], self._context.expanding
        return await expand(message, encoding, self._limit, lock, self._work_on, MessageTooLarge)

    def _work_on(self, size: int) -> None:
        """Charge more bytes of the message that is being decompressed. Raises `Overloaded`."""
        self.charge.add(BODY_FACTOR * size)
        self._working += size

    def _count(self) -> None:
        """Update the charged memory, and let the client wait if many messages are queued, unless the call has ended."""
        if self.status is not None:
            return
        inbox = self._inbox
        content = inbox.queued + len(inbox.incomplete) + self._working
        try:
            self.charge.add(self._kept + BODY_FACTOR * content - self.charge.held)
        except RequestError as error:
            self._fail(error)
        if (inbox.queued > _AHEAD_BYTES) != self._behind:
            self._behind = not self._behind
            self._connection.fall_behind(self, behind=self._behind)

    def _evict(self, charge: Charge) -> bool:
        """End the call if what it has charged waits for its client: an incomplete message, or an unread answer."""
        if charge is not self.charge:
            if self.blocked is None:
                return False
            self._stop(evicted(charge.caller))
            return True
        if not self._inbox.incomplete:
            return False
        self._fail(evicted(charge.caller))
        return True

    def _read_timeout(self, timeout: bytes) -> None:
        try:
            self._until = self._loop.time() + seconds_of(timeout)
        except Malformed as error:
            self._fail(error)
            return
        if self.method.streaming or self.method.watching:
            self._timer = self._loop.call_at(self._until, self._expire)

    def _expire(self) -> None:
        """Fail the call: the client's deadline has passed."""
        self._stop(DeadlineExceeded("the deadline has passed"))

    def _stop(self, error: RequestError) -> None:
        """Fail the call without answering the messages that have arrived."""
        self._fail(error)
        if self._task is not None and self.phase is RUNNING:  # before it begins it would send no status
            self._task.cancel()

    def _fail(self, error: RequestError) -> None:
        """Stop reading messages because of an error."""
        if self.failure is None:
            self.failure = error
            self._inbox.stop()
            self._wake()
            if not self.method.streaming:
                self._run()

    def _run(self) -> None:
        """Start the method, unless it has started."""
        if self.phase is not RECEIVING:
            return
        method, message = self.method, self._inbox.first
        self.phase = STARTED
        if self.failure is not None and method.begin is not None:
            method.begin(self)
            self.reply(self.failure)
            return
        start = None if self.failure is not None else method.start
        if start is None or not isinstance(message, bytes) or not start(self, message):
            self._start_task(partial(method.run, self))

    def _start_task(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.phase = SCHEDULED
        self._connection.turns.spend(TASK_SECONDS if self.method.start else _METHOD_SECONDS)
        self._task = self._loop.create_task(self._run_to_end(work))
        self._context.tasks.add(self._task)
        self._task.add_done_callback(self._context.tasks.discard)

    async def _run_to_end(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the method, or send its answer. An exception becomes the status of the call."""
        self.phase = RUNNING
        try:
            await work()
        except (asyncio.CancelledError, ClientDisconnected):  # not raised: the task would keep it, and it the call
            if self.failure is not None:  # the deadline, or the time for shutdown, has passed
                self.refuse(self.failure)
        except Exception as error:
            self.refuse(error)
        finally:
            self._end()

    def _end(self) -> None:
        """Release what the call holds, and tell the application that it has ended."""
        self.phase = ENDED
        self._release()
        self._context.ended(self)

    def _release(self) -> None:
        """Drop the messages and release the memory."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._inbox.clear()
        if self.failure is not None:
            self.failure.__traceback__ = None  # its frames refer to this call: a reference cycle
        self.charge.release()

    async def _send(self, messages: Sequence[bytes], trailers: Trailers | None = None) -> None:
        """Send messages, and end the response if `trailers` are given. Raises `ClientDisconnected`."""
        accepted = self.fields.get(b"grpc-accept-encoding", b"")
        size = sum(map(len, messages))  # they remain in memory until the client has read them, compressed or not
        answer = Charge(self._context.buffers, self.charge.caller, self._evict)
        try:
            answer.add(size if size > _UNCOUNTED_BYTES else 0)
            data = b"".join([await encode(message, accepted) for message in messages])
            head = None
            if not self._head_sent:
                more = trailers is None and b"gzip" in accepted  # so that later messages can be compressed
                head = _GZIP_HEAD if more or data[0] else _HEAD
                self._head_sent = True
            await self._connection.sender.send(self, data, head=head, trailers=trailers)
        finally:
            answer.release()

    def _send_at_once(self, message: bytes) -> bool:
        """Send the only message, and status OK. Returns False if the client cannot receive the message now."""
        sender = self._connection.sender
        if len(message) > _UNCOUNTED_BYTES or len(data := wrap(message)) > sender.room(self):
            return False
        self._head_sent = True
        sender.finish(self, _HEAD, [_OK, *self.trailing], data)
        self.status = "OK"
        return True

    def _finish(self, trailers: Trailers) -> None:
        """End the response without a further message. Raises `ClientDisconnected`."""
        sender = self._connection.sender
        if self._head_sent:
            sender.finish(self, None, trailers)
        else:
            sender.finish(self, Head(_HEAD.status, [*_HEAD.fields, *trailers]), ())
