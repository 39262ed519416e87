"""The requests that are in flight in a worker."""

from __future__ import annotations

import asyncio


class InFlight:
    """Counts requests from when they are read until they are answered, over any transport."""

    def __init__(self) -> None:
        self._tasks: list[set[asyncio.Task[None]]] = []

    def new_set(self) -> set[asyncio.Task[None]]:
        """A set in which a transport keeps the tasks of its requests, and which counts from now on."""
        tasks: set[asyncio.Task[None]] = set()
        self._tasks.append(tasks)
        return tasks

    def __len__(self) -> int:
        return sum(map(len, self._tasks))
