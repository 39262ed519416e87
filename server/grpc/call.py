"""One call: its messages, its deadline, and the memory that it holds.

Source: "gRPC over HTTP2" in the gRPC documentation. Violations of gRPC are rejected here, violations of HTTP/2 by the
connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

from sentiment_conv1d.server.errors import (
    ClientDisconnected,
    DeadlineExceeded,
    Malformed,
    RequestError,
    RequestTimeout,
    ShutDown,
    Unavailable,
)
from sentiment_conv1d.server.grpc.http2 import Head
from sentiment_conv1d.server.grpc.messages import encode, wrap
from sentiment_conv1d.server.grpc.receiving import CALL_BYTES, ReceivingCall
from sentiment_conv1d.server.grpc.status import as_refusal, error_fields
from sentiment_conv1d.server.grpc.timeout import seconds_of
from sentiment_conv1d.server.network.buffers import Charge
from sentiment_conv1d.server.network.shares import evicted
from sentiment_conv1d.server.network.turns import TASK_SECONDS

Trailers = list[tuple[bytes, bytes]]

_OK = (b"grpc-status", b"0")
_HEAD = Head(200, [(b"content-type", b"application/grpc")])
_GZIP_HEAD = Head(200, [*_HEAD.fields, (b"grpc-encoding", b"gzip")])

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


@dataclass(slots=True, eq=False, repr=False)
class Call(ReceivingCall):
    """A call of a method, with its deadline and its answer."""

    started: float = field(default_factory=perf_counter)
    request_id: str = ""
    context: Any = None  # what the application knows about a call that has begun
    trailing: Trailers = field(default_factory=list)  # fields to send with the status
    begun: bool = False  # whether its task has begun, or its method has without a task
    lost_before_reply: Callable[[], None] | None = None  # called if a call without a task is canceled
    _taskless: bool = False  # whether it waits for `reply`
    _head_sent: bool = False
    _until: float | None = None  # the deadline as the event loop's time
    _timer: asyncio.TimerHandle | None = None

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
        return self._connection.client

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
        sent = True
        if isinstance(result, bytes):
            sent = self.cut or self._send_at_once(result)
        elif isinstance(result, Exception) and not isinstance(result, ClientDisconnected):
            self.refuse(result)
        self._taskless = False
        if sent:
            self.release()
            self._context.ended(self)

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
        idle = self._task is None and not self._taskless
        return idle or self._waiting is not None or (self.method.watching and self.begun)

    def opened(self) -> None:
        """Read the deadline, and start the method if it need not wait for the message."""
        self._kept = CALL_BYTES + sum(map(len, self.fields.values()))
        if (timeout := self.fields.get(b"grpc-timeout")) is not None:
            self._take_timeout(timeout)
        self._count()
        if self.method.streaming or self.ended or self.failure is not None:
            self._run()

    def lost(self) -> None:
        """Stop the work."""
        if self._task is not None:
            self._task.cancel()
            if not self.begun:
                self._task = None  # it keeps the cancellation, whose traceback refers to this call
                if self.context is not None:
                    self._context.ended(self)  # a task that has not begun does not call it
        elif self._taskless and self.lost_before_reply is not None:
            self.lost_before_reply()
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
        if self._messages is None and (self._task is not None or self._taskless):
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

    def _evict(self, charge: Charge) -> bool:
        """Refuse an incomplete message, or stop an answer that the client does not read."""
        if charge is not self.charge:
            if self.blocked is None:
                return False
            self._stop(evicted(charge.caller))
            return True
        if self._messages is None or self.failure is not None:
            return False
        self._fail(evicted(charge.caller))
        return True

    def release(self) -> None:
        """Drop the messages and release the memory."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._complete.clear()
        self._messages = None
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
        """Send the only message, and status OK. A message that the client cannot receive now is sent by a task."""
        sender = self._connection.sender
        if len(message) > _UNCOUNTED_BYTES or len(data := wrap(message)) > sender.room(self):
            self.begun = False
            self._start_task(partial(self.answer, message))
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

    def _take_timeout(self, timeout: bytes) -> None:
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
        if self._task is not None and self.begun:  # a task that is cancelled before it begins sends no status
            self._task.cancel()

    def _run(self) -> None:
        """Start the method."""
        if self._task is not None or self._taskless or self.status is not None:
            return
        if self.failure is not None and self.method.begin is not None:
            self.begun = True
            self.method.begin(self)
            self.reply(self.failure)
            return
        start, message = self.method.start, self._complete[0] if self._complete else None
        if start is not None and self.failure is None and isinstance(message, bytes):
            self.begun = self._taskless = True
            if start(self, message):
                return
            self.begun = self._taskless = False
        self._start_task(partial(self.method.run, self))

    def _start_task(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._connection.turns.spend(TASK_SECONDS if self.method.start else _METHOD_SECONDS)
        self._task = self._loop.create_task(self._run_to_end(work))
        self._context.tasks.add(self._task)
        self._task.add_done_callback(self._context.tasks.discard)

    async def _run_to_end(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the method, or send its answer. An exception becomes the status of the call."""
        self.begun = True
        try:
            await work()
        except (asyncio.CancelledError, ClientDisconnected):  # not raised: the task would keep it, and it the call
            if self.failure is not None:  # the deadline, or the time for shutdown, has passed
                self.refuse(self.failure)
        except Exception as error:
            self.refuse(error)
        finally:
            self.release()
            self._context.ended(self)
