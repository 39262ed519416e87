"""Limits the memory that requests hold in one worker."""

from __future__ import annotations

from sentiment_conv1d.server.errors import Overloaded

#: Bytes of memory per byte of a body until the request is answered: the body, and its values as Python objects. In a
#: string with an emoji, every character has four bytes. A measured body of 8 MB took 16 to 40 MB.
BODY_FACTOR = 5


class Buffers:
    """The bytes that requests, and answers being written, hold in one worker."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    def hold(self, count: int) -> int:
        """Add `count` bytes and return `count`, which can be negative. Raises `Overloaded` if more exceed the limit."""
        held = self._held + count
        if held > self._limit and count > 0:
            raise Overloaded(f"requests would hold {held} bytes; the limit is {self._limit}")
        self._held = held
        return count

    def add(self, count: int) -> None:
        """Add `count` bytes, which can be negative, regardless of the limit: the memory is in use, or is released."""
        self._held += count


class Charge:
    """The bytes that one request holds, from its first byte until its answer is written."""

    __slots__ = ("_buffers", "_held", "refusal")

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self._held = 0
        self.refusal: Overloaded | None = None  # why the rest of the body was not read

    def add(self, count: int) -> None:
        """Charge `count` more bytes. Raises `Overloaded` beyond the limit."""
        self._held += self._buffers.hold(count)

    def release(self) -> None:
        """Release all bytes."""
        self._buffers.add(-self._held)
        self._held = 0
