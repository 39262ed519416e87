"""The receiving half of a call: queues and charges its messages."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from sentiment_conv1d.server.errors import Malformed, MessageTooLarge, RequestError
from sentiment_conv1d.server.grpc.call_context import CallContext
from sentiment_conv1d.server.grpc.connection import GrpcConnection
from sentiment_conv1d.server.grpc.messages import Message, Messages, only_message
from sentiment_conv1d.server.grpc.method import Method
from sentiment_conv1d.server.grpc.stream import Stream
from sentiment_conv1d.server.network.buffers import BODY_FACTOR, Charge
from sentiment_conv1d.server.network.compression import expand

#: Memory of an open call without its header fields and messages, and of a queued message without its content.
CALL_BYTES = 8192
_MESSAGE_BYTES = 128

#: Bytes of queued messages from which on the client must wait before it sends more.
_AHEAD_BYTES = 32_768


@dataclass(slots=True, eq=False, repr=False)
class ReceivingCall(Stream, ABC):
    """The receiving half of a call, which `Call` completes."""

    _connection: GrpcConnection
    path: bytes
    fields: Mapping[bytes, bytes]
    method: Method
    _context: CallContext
    _loop: asyncio.AbstractEventLoop
    status: str | None = None  # a name of `google.rpc.Code`, once it is known
    failure: RequestError | None = None  # why no more messages are read
    _task: asyncio.Task[None] | None = None
    _complete: deque[Message] = field(default_factory=deque)
    _queued: int = 0  # bytes of these
    _working: int = 0  # bytes of the messages that are being answered
    _messages: Messages | None = None  # while a message is incomplete
    _incomplete_since: float = 0.0
    _kept: int = 0  # bytes held until the end of the call
    charge: Charge = field(init=False)  # the memory that its messages hold
    _behind: bool = False  # whether the client must wait
    _waiting: asyncio.Future[None] | None = None  # done when a message arrives
    _waiting_since: float = 0.0

    def __post_init__(self) -> None:
        self.charge = Charge(self._context.buffers, self._connection.caller, self._evict)

    @abstractmethod
    def _evict(self, charge: Charge) -> bool:
        """End the call if what it has charged waits for its client. Returns whether it did."""

    @abstractmethod
    def _run(self) -> None:
        """Start the method, unless it runs."""

    # Called by the method.

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

    # Called by the connection.

    def received(self, data: bytes) -> None:
        """Queue the messages that content completes."""
        if self.failure is not None or self.status is not None:
            return  # it is not read any more
        try:
            if self._messages is None and (message := only_message(data, self._limit)) is not None:
                self.method.admit(len(message), self.charge.caller)
                self._push(message)
            elif data:
                self._take(data)
        except RequestError as error:
            self._fail(error)
        if self.ended and self._messages is not None:
            self._fail(Malformed("the last message is not complete"))
        if data:
            self._count()
        if self.method.streaming:
            self._wake()
        elif self.ended:
            self._run()

    # Internal.

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

    def _take(self, data: bytes) -> None:
        """Queue the messages in content that is not exactly one message. Raises `RequestError`."""
        if self._messages is None:
            encoding = self.fields.get(b"grpc-encoding", b"identity")
            admit, caller = self.method.admit, self.charge.caller
            self._messages = Messages(self._limit, encoding, lambda length: admit(length, caller))
            self._incomplete_since = self._loop.time()
        for message in self._messages.feed(data):
            self._push(message)
            self._incomplete_since = self._loop.time()
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
        content = self._queued + self._working
        if self._messages is not None:
            content += self._messages.incomplete
        try:
            self.charge.add(self._kept + BODY_FACTOR * content - self.charge.held)
        except RequestError as error:
            self._fail(error)
        if (self._queued > _AHEAD_BYTES) != self._behind:
            self._behind = not self._behind
            self._connection.fall_behind(self, behind=self._behind)

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
            self._connection.turns.spend()
