"""Limits the memory that requests hold in one worker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sentiment_conv1d.server.errors import Overloaded
from sentiment_conv1d.server.network.shares import Shares, overloaded

#: Bytes of memory per byte of a body until the request is answered: the body, and its values as Python objects. In a
#: string with an emoji, every character has four bytes. A measured body of 8 MB took 16 to 40 MB.
BODY_FACTOR = 5

#: Bytes above which a request that is not complete, or whose answer is not read, can be ended to make room for others.
_LARGE_BYTES = 65_536


class Buffers:
    """The bytes that requests, and answers being written, hold in one worker.

    At the limit, a caller that would still hold at most half of what another one holds gets room: the latest large
    requests of the other one that wait for their caller are ended.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._shares = Shares()
        self._large: defaultdict[str, dict[Charge, None]] = defaultdict(dict)  # by caller, the latest ones last

    @property
    def held(self) -> int:
        """The bytes that all requests hold."""
        return self._shares.total

    def hold(self, count: int, caller: str = "") -> int:
        """Add `count` bytes and return `count`, which can be negative. Raises `Overloaded` if more exceed the limit."""
        if count > 0 and self._shares.total + count > self._limit and not self._make_room(count, caller):
            reason = f"requests would hold {self._shares.total + count} bytes; the limit is {self._limit}"
            raise overloaded(caller, reason)
        self._shares.change(caller, count)
        return count

    def add(self, count: int, caller: str = "") -> None:
        """Add `count` bytes, which can be negative, regardless of the limit: the memory is in use, or is released."""
        self._shares.change(caller, count)

    def keep_large(self, charge: Charge) -> None:
        """Note a large request, which can be ended to make room."""
        self._large[charge.caller][charge] = None

    def forget_large(self, charge: Charge) -> None:
        """Forget a large request, which is answered."""
        of_caller = self._large[charge.caller]
        of_caller.pop(charge, None)
        if not of_caller:
            del self._large[charge.caller]

    def _make_room(self, count: int, caller: str) -> bool:
        """End requests of callers that hold more. Returns whether there is room for `count` more bytes."""
        if not self._shares.precedes(caller, count):
            return False
        for other in self._shares.ranked():
            for charge in reversed([*self._large.get(other, ())]):
                if not self._shares.precedes(caller, count, other):
                    break
                if charge.evict():
                    charge.release()
                if self._shares.total + count <= self._limit:
                    return True
        return False


class Charge:
    """The bytes that one request holds, from its first byte until its answer is written.

    `evict` is called with the charge to make room for other callers. It ends the request, and returns whether it did: a
    request that runs does not wait for its caller, and is soon answered.
    """

    __slots__ = ("_buffers", "_evict", "_large", "caller", "held", "refusal")

    def __init__(self, buffers: Buffers, caller: str = "", evict: Callable[[Charge], bool] | None = None) -> None:
        self._buffers = buffers
        self._evict = evict
        self._large = False
        self.caller = caller
        self.held = 0
        self.refusal: Overloaded | None = None  # why the rest of the body was not read

    def add(self, count: int) -> None:
        """Charge `count` more bytes. Raises `Overloaded` beyond the limit."""
        self.held += self._buffers.hold(count, self.caller)
        self._note_size()

    @contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Charge `count` bytes until the end of the block, for something to be computed. Raises `Overloaded`."""
        self.add(count)
        try:
            yield
        finally:
            self.add(-min(count, self.held))  # nothing is held if the caller has disconnected

    def assign(self, caller: str) -> None:
        """Charge another caller from now on, because the request has shown a key."""
        if self.held:
            self.replace(self.held, caller)
        self.caller = caller

    def replace(self, count: int, caller: str) -> None:
        """Charge a caller for `count` bytes in all, regardless of the limit, because the memory is in use."""
        self._drop()
        self.caller = caller
        self._buffers.add(count, caller)
        self.held = count
        self._note_size()

    def evict(self) -> bool:
        """End the request to make room for another caller. Returns whether it could be ended."""
        return self._evict is not None and self._evict(self)

    def release(self) -> None:
        """Release all bytes."""
        self._drop()
        self._evict = None  # it refers to the connection: a reference cycle

    def _note_size(self) -> None:
        if self.held > _LARGE_BYTES and self._evict is not None and not self._large:
            self._large = True
            self._buffers.keep_large(self)

    def _drop(self) -> None:
        if self._large:
            self._large = False
            self._buffers.forget_large(self)
        self._buffers.add(-self.held, self.caller)
        self.held = 0
