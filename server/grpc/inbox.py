"""The messages that a call has received and its method has not taken yet.

Source: `Length-Prefixed-Message` in "gRPC over HTTP2" in the gRPC documentation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sentiment_conv1d.server.errors import Malformed, MessageTooLarge
from sentiment_conv1d.server.grpc.messages import PREFIX

#: A message as it was received; a compressed one is a bytearray. The garbage collector visits neither, so its pauses do
#: not grow with the number of waiting messages.
Message = bytes | bytearray

#: The memory of a queued message without its content.
_MESSAGE_BYTES = 128


class Inbox:
    """Splits content into messages of up to `limit` bytes, and queues them.

    Messages can be compressed if there is an `encoding`. `admit` gets the length of every message when its prefix has
    arrived, and can raise `RequestError`. If there can be only a `single` message, a second one is an error.
    """

    __slots__ = ("_admit", "_admitted", "_encoding", "_limit", "_messages", "_single", "incomplete", "queued")

    def __init__(self, limit: int, encoding: bytes, admit: Callable[[int], None], single: bool) -> None:
        self._limit = limit
        self._encoding = encoding
        self._admit = admit
        self._single = single
        self._admitted = False  # the incomplete message
        self.incomplete = bytearray()  # what has arrived of the next message
        self._messages: deque[Message] = deque()
        self.queued = 0  # bytes of these

    @property
    def first(self) -> Message | None:
        """The message that `pop` returns, or None if there is none."""
        return self._messages[0] if self._messages else None

    def add(self, data: bytes) -> int:
        """Add content, and return how many messages it completes.

        Raises `MessageTooLarge` as soon as a prefix announces too many bytes, `Malformed`, and the errors of `admit`.
        """
        if not self.incomplete and (message := _only_message(data, self._limit)) is not None:
            self._admit(len(message))
            self._push(message)
            return 1
        count = 0
        self.incomplete += data
        while len(self.incomplete) >= PREFIX.size:
            flag, length = PREFIX.unpack_from(self.incomplete)
            if flag > 1:
                raise Malformed(f"the first byte of a message is {flag}, which is neither 0 nor 1")
            if flag and self._encoding == b"identity":
                raise Malformed("a message is compressed, but grpc-encoding names no compression")
            if length > self._limit:
                raise MessageTooLarge(f"a message has {length} bytes; the limit is {self._limit}")
            if not self._admitted:
                self._admit(length)
                self._admitted = True
            end = PREFIX.size + length
            if len(self.incomplete) < end:
                break
            self._admitted = False
            kind = bytearray if flag else bytes
            message = kind(memoryview(self.incomplete)[PREFIX.size : end])
            del self.incomplete[:end]
            self._push(message)
            count += 1
        return count

    def pop(self) -> Message:
        """Remove and return the first message."""
        message = self._messages.popleft()
        self.queued -= len(message) + _MESSAGE_BYTES
        return message

    def stop(self) -> None:
        """Drop an incomplete message, of which no more is added."""
        self.incomplete = bytearray()

    def clear(self) -> None:
        """Drop all messages."""
        self.incomplete = bytearray()
        self._messages.clear()
        self.queued = 0

    def _push(self, message: Message) -> None:
        if self._single and self._messages:
            raise Malformed("the method takes one message, and there are more")
        self._messages.append(message)
        self.queued += len(message) + _MESSAGE_BYTES


def _only_message(data: bytes, limit: int) -> Message | None:
    """Return the message if `data` is exactly one uncompressed message of up to `limit` bytes, else None."""
    size = len(data) - PREFIX.size
    whole = 0 <= size <= limit and data[0] == 0 and int.from_bytes(data[1 : PREFIX.size]) == size
    return data[PREFIX.size :] if whole else None
