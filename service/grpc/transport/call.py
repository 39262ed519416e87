"""One call: the messages of its client, its deadline, and the memory that it takes.

Source: gRPC's document on its protocol over HTTP/2. The connection handles clients that break HTTP/2's rules; those
that break gRPC's are refused here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from time import perf_counter
from typing import Any, NamedTuple

from google.rpc import code_pb2

from sentiment_conv1d.service.errors import (
    ClientDisconnected,
    DeadlineExceeded,
    Malformed,
    RequestError,
    RequestTimeout,
)
from sentiment_conv1d.service.grpc.transport.connection import GrpcConnection
from sentiment_conv1d.service.grpc.transport.messages import Decompression, Message, Messages, only_message
from sentiment_conv1d.service.grpc.transport.response import Response, Trailers
from sentiment_conv1d.service.grpc.transport.status import as_refusal, error_fields, status_of
from sentiment_conv1d.service.grpc.transport.stream import Stream
from sentiment_conv1d.service.grpc.transport.timeout import seconds_of
from sentiment_conv1d.service.network.buffers import BODY_FACTOR, Buffers

_OK = (b"grpc-status", b"0")

#: Memory of an open call beside its fields and messages, and of a waiting message beside its bytes.
CALL_BYTES = 8192
_MESSAGE_BYTES = 128

#: Bytes of messages that a stream may have waiting before the client has to wait.
_AHEAD_BYTES = 32_768


class Method(NamedTuple):
    """What a call of a method runs, and whether its request and its response are streams of messages.

    `watching` says that a call only waits for a change of the server's state.
    """

    run: Callable[[Call], Coroutine[Any, Any, None]]
    request_streaming: bool = False
    response_streaming: bool = False
    watching: bool = False


class Terms(NamedTuple):
    """The limits of calls, and what they share."""

    message_bytes: int
    message_seconds: float  # from the first byte of a message to its last
    buffers: Buffers
    decompression: Decompression
    ended: Callable[[Call], None]  # told of every call that has begun


class Call(Stream):
    """A call of a method. `start` makes the task that runs it, once there is something to run."""

    __slots__ = (
        "_behind",
        "_complete",
        "_connection",
        "_held",
        "_incomplete_since",
        "_kept",
        "_loop",
        "_messages",
        "_queued",
        "_response",
        "_start",
        "_task",
        "_terms",
        "_timer",
        "_until",
        "_waiting",
        "_working",
        "begun",
        "failure",
        "fields",
        "method",
        "path",
        "request_id",
        "started",
        "status",
        "trailing",
    )

    def __init__(
        self,
        connection: GrpcConnection,
        identity: int,
        path: bytes,
        fields: Mapping[bytes, bytes],
        method: Method,
        terms: Terms,
        start: Callable[[Call], asyncio.Task[None]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(identity)
        self.path = path
        self.method = method
        self.started = perf_counter()
        self.fields = fields
        self.request_id = ""
        self.trailing: Trailers = []  # fields that go with the status
        self.status: int | None = None  # of `google.rpc.Code`, once it is known
        self.begun = False  # its work
        self.failure: RequestError | None = None  # why there is nothing more to be read
        self._connection = connection
        self._terms = terms
        self._start = start
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._complete: deque[Message] = deque()
        self._queued = 0  # what these take
        self._working = 0  # what the messages take that are being answered
        self._messages: Messages | None = None  # as long as one is not complete
        self._incomplete_since = 0.0
        self._kept = CALL_BYTES + sum(map(len, fields.values()))  # as long as the call runs
        self._held = 0  # of the buffers
        self._behind = False  # with its messages
        self._waiting: asyncio.Future[None] | None = None  # for a message
        self._response = Response(self, connection.sender, terms.buffers, fields.get(b"grpc-accept-encoding", b""))
        self._until: float | None = None  # on the event loop's clock
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Run its method. What that raises becomes the status of the call, if the client is still there."""
        self.begun = True
        try:
            await self.method.run(self)
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            if self.failure is None:
                raise
            self.refuse(self.failure)  # its deadline has passed
        except Exception as error:
            self.refuse(as_refusal(error, "a call"))
        finally:
            self.release()
            self._terms.ended(self)

    # Called by its method.

    def text(self, name: bytes) -> str | None:
        """A field of the request."""
        value = self.fields.get(name)
        return None if value is None else value.decode("latin-1")

    def remaining(self) -> float | None:
        """Seconds until the client's deadline, None if it has none."""
        return None if self._until is None else self._until - self._loop.time()

    @property
    def client(self) -> str | None:
        """The client's address, None if it has none."""
        peer = self._connection.transport.get_extra_info("peername")
        return peer[0] if isinstance(peer, tuple) else None

    async def message(self) -> bytes:
        """The one message of a unary call. Raises `RequestError` if there is none."""
        if self.failure is not None:
            raise self.failure
        if not self._complete:
            raise Malformed("the method takes one message, and there is none")
        return await self._pop()

    @property
    def has_message(self) -> bool:
        """Whether `read` need not wait."""
        return bool(self._complete)

    async def read(self) -> bytes | None:
        """The next message of a stream, None after the last one. Raises `RequestError`."""
        self._working = 0
        while not self._complete:
            if self.failure is not None:
                raise self.failure
            if self.ended:
                return None
            self._count()
            self._waiting = self._loop.create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return await self._pop()

    def more(self, message: bytes, most: int, size: int) -> list[bytes]:
        """The messages that follow one and have arrived: at most `most` in all, of at most `size` bytes."""
        messages: list[bytes] = []
        size -= len(message)
        while self._complete and len(messages) + 1 < most and not self._complete[0].compressed:
            size -= len(self._complete[0].content)
            if size < 0:
                break
            messages.append(self._take_next().content)
        return messages

    async def write(self, *messages: bytes) -> None:
        """Send messages, after which others may follow. Raises `ClientDisconnected`."""
        await self._response.send(messages)

    async def answer(self, message: bytes) -> None:
        """Send the only message, and status OK. Raises `ClientDisconnected`."""
        await self._response.send((message,), [_OK, *self.trailing])
        self.status = code_pb2.OK

    def end(self) -> None:
        """End the call with status OK and no further message. Raises `ClientDisconnected`."""
        self._response.finish([_OK, *self.trailing])
        self.status = code_pb2.OK

    def refuse(self, error: RequestError) -> None:
        """End the call with the status of an error, if the client is still there."""
        self.status = status_of(error)
        if not self.cut:
            with contextlib.suppress(ClientDisconnected):
                self._response.finish([*error_fields(error, self.request_id), *self.trailing])

    # Called by the connection.

    @property
    def parked(self) -> bool:
        """Whether it waits for a message, or for a change of the server's state."""
        return self._task is None or self._waiting is not None or (self.method.watching and self.begun)

    def began(self) -> None:
        """Note the deadline, and run what can run."""
        if (timeout := self.fields.get(b"grpc-timeout")) is not None:
            self._take_timeout(timeout)
        self._count()
        if self.method.request_streaming or self.ended or self.failure is not None:
            self._run()

    def received(self, data: bytes) -> None:
        """Cut messages out of what arrives."""
        if self.failure is not None or self.status is not None:
            return  # nobody reads it
        if self._messages is None and (message := only_message(data, self._terms.message_bytes)) is not None:
            self._push(message)
        elif data:
            self._take(data)
        if self.ended and self._messages is not None:
            self._fail(Malformed("the last message is not complete"))
        if data:
            self._count()
        if self.method.request_streaming:
            self._wake()
        elif self.ended:
            self._run()

    def lost(self) -> None:
        """Stop the work."""
        if self._task is not None:
            self._task.cancel()
        self.release()  # a task that has not begun never will

    def watch(self, now: float) -> None:
        """Wait no longer than allowed for a message that has begun, or for all of a unary call."""
        if self.failure is not None or self.status is not None:
            return
        if self._messages is None and self._task is not None:
            return
        if not self._incomplete_since:
            self._incomplete_since = now
        seconds = self._terms.message_seconds
        if now - self._incomplete_since > seconds:
            self._fail(RequestTimeout(f"a message was not complete after {seconds:g} s"))
        elif self._task is None and self._until is not None and now > self._until:
            self._expire()

    def release(self) -> None:
        """Release the messages and the memory."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._complete.clear()
        self._messages = None
        if self.failure is not None:
            self.failure.__traceback__ = None  # its frames refer to this call, which would wait for a search for cycles
        self._terms.buffers.release(self._held)
        self._held = 0

    def _take_timeout(self, timeout: bytes) -> None:
        try:
            self._until = self._loop.time() + seconds_of(timeout)
        except Malformed as error:
            self._fail(error)
            return
        if self.method.request_streaming or self.method.response_streaming:
            self._timer = self._loop.call_at(self._until, self._expire)

    def _expire(self) -> None:
        """The client's deadline has passed."""
        self._fail(DeadlineExceeded("the deadline has passed"))
        if self._task is not None and self.begun:  # a task that is cancelled before it begins tells nobody
            self._task.cancel()

    def _take(self, data: bytes) -> None:
        """Take data that is not just one message."""
        if self._messages is None:
            encoding = self.fields.get(b"grpc-encoding", b"identity")
            self._messages = Messages(self._terms.message_bytes, encoding)
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
        if self._complete and not self.method.request_streaming:
            self._fail(Malformed("the method takes one message, and there are more"))
            return
        self._complete.append(message)
        self._queued += len(message.content) + _MESSAGE_BYTES

    def _take_next(self) -> Message:
        message = self._complete.popleft()
        size = len(message.content)
        self._queued -= size + _MESSAGE_BYTES
        self._working += size
        if self._behind:
            self._count()
        return message

    async def _pop(self) -> bytes:
        content, compressed = self._take_next()
        if not compressed:
            return content
        return await self._terms.decompression.expand(content, self.fields[b"grpc-encoding"], self._work_on)

    def _work_on(self, size: int) -> None:
        """Count so many bytes more of the message that is worked on. Raises `Overloaded`."""
        failure = self.failure
        self._working += size
        self._count()
        if self.failure is not failure and self.failure is not None:
            raise self.failure

    def _count(self) -> None:
        """Count the memory that is held, and stop reading from the client if many messages wait."""
        content = self._queued + self._working
        if self._messages is not None:
            content += self._messages.incomplete
        held = self._kept + BODY_FACTOR * content
        change = held - self._held
        if change > 0:
            try:
                self._held += self._terms.buffers.hold(change)
            except RequestError as error:
                self._fail(error)
        elif change:
            self._terms.buffers.release(-change)
            self._held = held
        if (self._queued > _AHEAD_BYTES) != self._behind:
            self._behind = not self._behind
            self._connection.fall_behind(self, behind=self._behind)

    def _run(self) -> None:
        if self._task is None:
            self._task = self._start(self)

    def _fail(self, error: RequestError) -> None:
        """Read nothing more."""
        if self.failure is None:
            self.failure = error
            self._messages = None
            self._wake()
            if not self.method.request_streaming:
                self._run()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
