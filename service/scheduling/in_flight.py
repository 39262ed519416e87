"""The requests in flight in a worker."""

from __future__ import annotations

import asyncio


class InFlight:
    """Counts the requests of all transports from the moment they are read until they are answered."""

    def __init__(self) -> None:
        self._tasks: list[set[asyncio.Task[None]]] = []
        self.started = 0  # requests without a task

    def new_set(self) -> set[asyncio.Task[None]]:
        """Return a set that is counted from now on. A transport keeps the tasks of its requests in it."""
        tasks: set[asyncio.Task[None]] = set()
        self._tasks.append(tasks)
        return tasks

    def __len__(self) -> int:
        return self.started + sum(map(len, self._tasks))
