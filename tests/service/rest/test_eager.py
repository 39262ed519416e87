"""Work that begins at once: when it goes on, and when it becomes a task."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
import uvloop

from service.rest.eager import Eager

runs = pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
Run = Callable[[Any], Any]


def begin(work: Callable[[], Any], tasks: set[asyncio.Task[None]]) -> None:
    Eager(work(), asyncio.get_running_loop(), tasks)


async def turns(condition: Callable[[], bool]) -> None:
    """Give up turns until something is so."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a turn is what is waited for
            await asyncio.sleep(0)


@runs
def test_what_never_waits(run: Run) -> None:
    """Work without a wait is done when the call returns, and its context variables are its own."""
    variable: ContextVar[str] = ContextVar("variable", default="outside")

    async def story() -> None:
        seen = []

        async def work() -> None:
            variable.set("inside")
            seen.append(variable.get())

        tasks: set[asyncio.Task[None]] = set()
        begin(work, tasks)
        assert (seen, variable.get(), tasks) == (["inside"], "outside", set())

    run(story())


@runs
def test_what_waits_for_futures(run: Run) -> None:
    """Work goes on as soon as a future is done, with its result or its exception, in the same context."""
    variable: ContextVar[int] = ContextVar("variable", default=0)

    async def story() -> None:
        first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
        seen: list[Any] = []

        async def work() -> None:
            variable.set(1)
            seen.append(await first)
            try:
                await second
            except ValueError as error:
                seen.append(error.args)
            seen.append(variable.get())

        tasks: set[asyncio.Task[None]] = set()
        begin(work, tasks)
        assert seen == []
        first.set_result("first")
        await turns(lambda: len(seen) == 1)
        second.set_exception(ValueError("second"))
        await turns(lambda: len(seen) == 3)
        assert (seen, tasks) == (["first", ("second",), 1], set())

    run(story())


@runs
@pytest.mark.parametrize("first", [lambda: asyncio.sleep(0), lambda: asyncio.sleep(0.001)])
def test_what_gives_up_its_turn(run: Run, first: Callable[[], Awaitable[None]]) -> None:
    """Work that gives up its turn is a task from there on, with time limits and cancellation, also after a future."""

    async def story() -> None:
        outcome: list[str] = []

        async def work() -> None:
            await first()
            await asyncio.sleep(0)
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.get_running_loop().create_future()
            except TimeoutError:
                outcome.append("timeout")
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                outcome.append("cancelled")

        tasks: set[asyncio.Task[None]] = set()
        begin(work, tasks)
        await turns(lambda: outcome == ["timeout"])
        [task] = tasks
        task.cancel()
        await turns(lambda: not tasks)
        assert outcome == ["timeout", "cancelled"]

    run(story())


@runs
def test_many_at_a_time(run: Run) -> None:
    """Works that wait for the same future all go on, in the order in which they began to wait."""

    async def story() -> list[int]:
        future = asyncio.get_running_loop().create_future()
        order: list[int] = []

        async def work(number: int) -> None:
            await asyncio.shield(future) if number % 2 else await future
            order.append(number)

        for number in range(10):
            begin(lambda number=number: work(number), set())  # type: ignore[misc]
        future.set_result(None)
        await turns(lambda: len(order) == 10)
        return order

    assert sorted(run(story())) == list(range(10))
