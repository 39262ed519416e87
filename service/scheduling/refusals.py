"""Bounds the time that refusals take, so that they do not displace accepted work."""

from __future__ import annotations

from time import perf_counter, thread_time
from typing import NamedTuple

#: The part of the time that refusals get, and the seconds for which they can be ahead of it.
_PART = 0.18
_BURST_SECONDS = 0.01

#: What counts of an earlier turn of the event loop with every further turn.
_DECAY = 0.9


#: Bytes that take as much time as the rest of a refusal. As measured, one of 43 kB takes 1.2 to 1.6 times as long as a
#: small one, over both protocols.
_BYTES = 65_536


class RefusalCost(NamedTuple):
    """The most seconds of the event loop and of the kernel that a refusal takes, and more for every byte."""

    request: float
    byte: float


#: The cost of a request that has been read.
READ = RefusalCost(0.00004, 0.0)


class RefusalBudget:
    """Measures the time of refusals, and says for how long nothing should be read after them.

    Much of the time that a refusal takes is before or after its decision: the kernel hands over its message, and drops
    the rest of it later. So no refusal is measured by itself. Of the processor time of the event loop, refusals have
    the part that they have in the requests of the last turns, weighted by their bytes, but no more than the most that
    they can take.
    """

    def __init__(self) -> None:
        self._expected = 0.0  # weights of the requests of the last turns
        self._refused = 0.0  # and of their refusals
        self._most = 0.0  # seconds that these can still take
        self._measured = thread_time()
        self._paid = 0.0  # the time of `perf_counter` at which refusals have had no more than their part

    def expect(self, size: int) -> None:
        """Note a request of `size` bytes that begins to be read."""
        self._expected += 1 + size / _BYTES

    def refuse(self, size: int, cost: RefusalCost) -> None:
        """Note a refusal."""
        self._refused += 1 + size / _BYTES
        self._most += cost.request + size * cost.byte

    def measure(self) -> None:
        """End a turn of the event loop, on its thread."""
        measured, self._measured = self._measured, thread_time()
        if self._most:
            part = self._refused / max(self._refused, self._expected)
            taken = min((self._measured - measured) * part, self._most)
            self._most -= taken
            self._paid = max(self._paid, perf_counter()) + taken / _PART
        self._expected *= _DECAY
        self._refused *= _DECAY
        self._most *= _DECAY

    def pause(self) -> float:
        """Return for how many seconds nothing should be read."""
        return max(0.0, self._paid - _BURST_SECONDS - perf_counter())
