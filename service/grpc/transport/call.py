"""One call: what its client sent, and what goes back.

Source: gRPC's document on its protocol over HTTP/2. The connection handles clients that break HTTP/2's rules; those
that break gRPC's are refused here.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from google.rpc import code_pb2

from sentiment_conv1d.service.errors import DeadlineExceeded, Malformed, RequestError, RequestTimeout
from sentiment_conv1d.service.grpc.status import as_refusal, details, quote, status_of
from sentiment_conv1d.service.grpc.transport.connection import Connection
from sentiment_conv1d.service.grpc.transport.http2 import CallerGone
from sentiment_conv1d.service.grpc.transport.messages import (
    ENCODINGS,
    PREFIX_BYTES,
    Decompression,
    Message,
    Messages,
    compress,
    worth_compressing,
    wrap,
)
from sentiment_conv1d.service.grpc.transport.stream import Head, Stream
from sentiment_conv1d.service.network.buffers import BODY_FACTOR, Buffers

Trailers = list[tuple[bytes, bytes]]

#: The fields in front of an answer.
_HEAD = Head(200, [(b"content-type", b"application/grpc")])
_GZIP_HEAD = Head(200, [*_HEAD.fields, (b"grpc-encoding", b"gzip")])
_OK = (b"grpc-status", b"0")

#: When to come again, in milliseconds; clients with a retry policy follow it.
_PUSHBACK = b"grpc-retry-pushback-ms"

#: What an open call takes, beside its fields and messages, and what a message that waits takes beside its bytes.
CALL_BYTES = 8192
_MESSAGE_BYTES = 128

#: Bytes of messages that a stream may have waiting before the client has to wait.
_AHEAD_BYTES = 32_768

#: Bytes of an answer that do not count as waiting for a slow reader.
_SMALL = 16_384

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class Method(NamedTuple):
    """What a call of a method runs, and whether there is any number of messages instead of one, either way.

    `watching` says that a call does nothing but wait for a change of the server's.
    """

    run: Callable[[Call], Coroutine[Any, Any, None]]
    request_streaming: bool = False
    response_streaming: bool = False
    watching: bool = False


class Terms(NamedTuple):
    """What calls may take."""

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
        "_head_sent",
        "_held",
        "_incomplete_since",
        "_kept",
        "_loop",
        "_messages",
        "_queued",
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
        connection: Connection,
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
        self._head_sent = False
        self._until: float | None = None  # on the event loop's clock
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Run its method. What that raises becomes the status of the call, if the client is still there."""
        self.begun = True
        try:
            await self.method.run(self)
        except CallerGone:
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

    # What its method asks and says.

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
        """The messages of a stream that are here beside one: so many in all at most, and of so many bytes."""
        messages: list[bytes] = []
        size -= len(message)
        while self._complete and len(messages) + 1 < most and not self._complete[0].compressed:
            size -= len(self._complete[0].content)
            if size < 0:
                break
            messages.append(self._take_next().content)
        return messages

    async def write(self, *messages: bytes) -> None:
        """Send some messages of several. Raises `CallerGone`."""
        await self._send(messages, None)

    async def answer(self, message: bytes) -> None:
        """Send the only message, and that all is well. Raises `CallerGone`."""
        await self._send((message,), [_OK, *self.trailing])
        self.status = code_pb2.OK

    def end(self) -> None:
        """Say that all is well, and that there are no more messages. Raises `CallerGone`."""
        self._finish([_OK])
        self.status = code_pb2.OK

    def refuse(self, error: RequestError) -> None:
        """End the call with the status of an error, if the client is still there."""
        status = status_of(error)
        self.status = status
        if self.cut:
            return
        fields = [
            (b"grpc-status", str(status).encode()),
            (b"grpc-message", quote(error.message)),
            (b"grpc-status-details-bin", details(error, self.request_id)),
        ]
        if error.retry_after is not None:
            fields.append((_PUSHBACK, str(error.retry_after * 1000).encode()))
        if status == code_pb2.UNIMPLEMENTED:
            fields.append((b"grpc-accept-encoding", b",".join(ENCODINGS)))
        with contextlib.suppress(CallerGone):
            self._finish(fields)

    # What the stream says.

    @property
    def parked(self) -> bool:
        """Whether it waits for a message, or for a change of the server's."""
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
            return  # nobody wants it
        if self._messages is None and _is_one_message(data, self._terms.message_bytes):
            self._push(Message(data[PREFIX_BYTES:], compressed=False))
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
        """Hold nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._complete.clear()
        self._messages = None
        if self.failure is not None:
            self.failure.__traceback__ = None  # its frames refer to this call, which would wait for a search for cycles
        self._terms.buffers.release(self._held)
        self._held = 0

    # The rest.

    def _take_timeout(self, timeout: bytes) -> None:
        match = _TIMEOUT.fullmatch(timeout)
        if match is None:
            self._fail(Malformed(f"grpc-timeout is {timeout.decode('latin-1')}"))
            return
        seconds = int(match[1]) * _SECONDS[match[2]]
        self._until = self._loop.time() + seconds
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
        """Count what is held in memory, and have the client wait if there are many messages to be read."""
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

    async def _send(self, messages: Sequence[bytes], trailers: Trailers | None) -> None:
        accepted = self.fields.get(b"grpc-accept-encoding", b"")
        encoded = [await self._encode(message, accepted) for message in messages]
        data = encoded[0] if len(encoded) == 1 else b"".join(encoded)
        held = self._terms.buffers.hold(len(data)) if len(data) > _SMALL else 0
        head = None
        if not self._head_sent:
            more = trailers is None and b"gzip" in accepted  # later messages may be compressed
            head = _GZIP_HEAD if more or data[0] else _HEAD
            self._head_sent = True
        try:
            await self._connection.sender.send(self, data, head=head, trailers=trailers)
        finally:
            self._terms.buffers.release(held)

    async def _encode(self, message: bytes, accepted: bytes) -> bytes:
        if worth_compressing(len(message), accepted):
            compressed = await compress(message)
            if len(compressed) < len(message):
                return wrap(compressed, compressed=True)
        return wrap(message)

    def _finish(self, fields: Trailers) -> None:
        if self._head_sent:
            self._connection.sender.finish(self, [*fields, *self.trailing])
        else:
            self._connection.sender.refuse(self, Head(_HEAD.status, [*_HEAD.fields, *fields, *self.trailing]))


def _is_one_message(data: bytes, limit: int) -> bool:
    """Whether that is what it is, not compressed."""
    size = len(data) - PREFIX_BYTES
    return 0 <= size <= limit and data[0] == 0 and int.from_bytes(data[1:PREFIX_BYTES]) == size
