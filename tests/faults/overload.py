"""Requests at a rate of their own: they come whether or not the ones before them are answered, as users do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import perf_counter

from tests.faults.tally import Tally

#: One request: it does its work and returns its outcome.
Ask = Callable[[], Awaitable[str]]


async def closed_loop(ask: Ask, callers: int, seconds: float) -> Tally:
    """So many callers, each of whom waits for an answer before asking again."""
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
    """`rate` requests a second at random moments; each one's time counts from the moment it should have been sent."""
    tally = Tally()
    chance = random.Random(0)
    began = perf_counter()
    due = began

    async def call(moment: float) -> None:
        tally.add(await ask(), perf_counter() - moment)

    async with asyncio.TaskGroup() as group:
        while (now := perf_counter()) < began + seconds:
            while due <= now:
                group.create_task(call(due))
                due += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, min(due - perf_counter(), 0.001)))
    return tally
