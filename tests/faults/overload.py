"""Open-loop load: requests arrive at a fixed rate, whether or not earlier ones have been answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import perf_counter

from tests.faults.tally import Tally

#: Sends one request and returns its outcome.
Ask = Callable[[], Awaitable[str]]


async def closed_loop(ask: Ask, callers: int, seconds: float) -> Tally:
    """Run a closed loop of callers, each of which waits for its answer."""
    tally = Tally()
    end = perf_counter() + seconds

    async def call() -> None:
        while (started := perf_counter()) < end:
            tally.add(await ask(), perf_counter() - started)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call())
    return tally


async def open_loop(ask: Ask, rate: float, seconds: float) -> Tally:
    """Send `rate` requests per second at random times. Latency counts from the time a request was due."""
    tally = Tally()
    chance = random.Random(0)
    began = perf_counter()
    due = began

    async def call(moment: float) -> None:
        tally.add(await ask(), perf_counter() - moment)

    async with asyncio.TaskGroup() as group:
        while due < began + seconds:
            now = perf_counter()
            while due <= min(now, began + seconds):
                group.create_task(call(due))
                due += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, min(due - perf_counter(), 0.001)))
    return tally
