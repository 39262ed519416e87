"""When a request may be parsed. A parser cannot be interrupted, and 64 kB can take it 10 ms."""

from __future__ import annotations

import asyncio
from time import perf_counter

from sentiment_conv1d.server.network.shares import Shares, overloaded

#: Seconds of a turn of the event loop in which parsing may begin.
_SECONDS = 0.002

#: Turns of the event loop between two large requests. A small request needs fewer from its first byte to its answer.
_TURNS = 8


class Parsing:
    """Spreads the parsing of requests over the turns of the event loop. Belongs to one event loop.

    At most `limit` requests wait, and at this limit the caller that has most of them is refused first, as in
    `Admission`. Those of more than `large` bytes wait for each other, and other requests are answered
    between two of them.
    """

    def __init__(self, limit: int, large: int) -> None:
        self._limit = limit
        self._large = large
        self._waiting = Shares()
        self._one_large = asyncio.Lock()
        self._until: float | None = None  # the end of this turn's time, after the first request of the turn

    async def turn(self, size: int, caller: str = "") -> None:
        """Wait until a request of `size` bytes may be parsed, at once. Raises `Overloaded` if too many wait."""
        if not self._waiting.admits(caller, 1, self._limit):
            raise overloaded(caller, f"{self._waiting.total} requests wait to be parsed, which is the limit")
        self._waiting.change(caller, 1)
        try:
            if size > self._large:
                async with self._one_large:
                    for _ in range(_TURNS):
                        await asyncio.sleep(0)
            while not self._has_time():  # noqa: ASYNC110 - the event loop resumes them in their order
                await asyncio.sleep(0)
        finally:
            self._waiting.change(caller, -1)

    def _has_time(self) -> bool:
        now = perf_counter()
        if self._until is None:
            self._until = now + _SECONDS
            asyncio.get_running_loop().call_soon(self._end_turn)
        return now < self._until

    def _end_turn(self) -> None:
        self._until = None
