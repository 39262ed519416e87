"""The memory that requests hold in one worker, and its limit."""

from __future__ import annotations

from sentiment_conv1d.service.errors import Overloaded

#: Bytes of memory that a byte of a body takes until it is answered: the body, and its texts as Python strings, of one
#: byte a character in English and of four in a text with a single emoji. 8 MB were measured to take 16 to 40 MB.
BODY_FACTOR = 5


class Buffers:
    """The bytes that requests, and answers under way, hold in one worker."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    def hold(self, count: int) -> int:
        """Count so many more; returns the number. Raises `Overloaded` beyond the limit."""
        held = self._held + count
        if held > self._limit:
            raise Overloaded(f"requests take up the {self._limit} bytes that there are for them")
        self._held = held
        return count

    def add(self, count: int) -> None:
        """Count so many more, or less, whatever the limit: they are there already."""
        self._held += count

    def release(self, count: int) -> None:
        """Count so many less."""
        self._held -= count


class Charge:
    """The bytes that one request holds, from its first byte until its answer is written."""

    __slots__ = ("_buffers", "_held", "refusal")

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self._held = 0
        self.refusal: Overloaded | None = None  # since when the request is not complete

    def add(self, count: int) -> None:
        """Hold so many more. Raises `Overloaded` beyond the limit."""
        try:
            self._held += self._buffers.hold(count)
        except Overloaded as error:
            self.refusal = error
            raise

    def check(self) -> None:
        """Raise `Overloaded` if the request was over the limit."""
        if self.refusal is not None:
            raise self.refusal

    def release(self) -> None:
        """Let go of all of it."""
        self._buffers.release(self._held)
        self._held = 0
