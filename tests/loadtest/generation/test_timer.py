"""The timer of the generator."""

from __future__ import annotations

import asyncio
from time import perf_counter

import uvloop

from loadtest.generation.timer import Timer


def test_wakes_on_time() -> None:
    """The timer never wakes early, and waits actively for at most a twentieth of the time."""

    async def wait(seconds: float) -> tuple[float, float]:
        woken = asyncio.Event()
        timer = Timer(woken.set)
        try:
            moment = perf_counter() + seconds
            timer.set(moment)
            await asyncio.wait_for(woken.wait(), 60)
            return perf_counter() - moment, timer.awake
        finally:
            timer.close()

    for seconds in (-1.0, 0.0, 0.0004, 0.02):
        late, awake = uvloop.run(wait(seconds))
        assert late >= 0
        assert awake <= max(0.0, seconds) * 0.05 + 1e-4, seconds
