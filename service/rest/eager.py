"""Work that begins at once, and becomes a task of the event loop only where it needs to be one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from types import coroutine as generator_based
from typing import Any


class Eager:
    """Runs a coroutine up to where it waits for a future, and goes on as soon as that is done.

    A task would begin a turn of the event loop later. What works in a task alone, `asyncio.timeout` for one, has to
    come after an `await asyncio.sleep(0)`: a coroutine that gives up its turn becomes a task, one of `tasks`.
    """

    __slots__ = ("_context", "_coroutine", "_loop", "_tasks")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, None],
        loop: asyncio.AbstractEventLoop,
        tasks: set[asyncio.Task[None]],
    ) -> None:
        self._coroutine = coroutine
        self._loop = loop
        self._tasks = tasks
        self._context = copy_context()
        self._context.run(self._step)

    def _step(self, _: asyncio.Future[Any] | None = None) -> None:
        try:
            awaited = self._coroutine.send(None)
        except StopIteration:
            return
        if awaited is None:
            task = self._loop.create_task(_rest(self._coroutine), context=self._context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            awaited._asyncio_future_blocking = False  # as a task does: it says that the future was awaited, not yielded
            awaited.add_done_callback(self._step, context=self._context)


@generator_based
def _rest(coroutine: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    yield from coroutine
