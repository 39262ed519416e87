"""A pool of HTTP/1.1 connections that does as little work as a client can, so that the server is what is measured."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable
from time import perf_counter

from loadtest.generation.connection import Connection
from loadtest.traffic.requests import Request
from loadtest.traffic.target import Target

#: Told of every request that is over: the request, when it was due, when it was over, what came of it.
Done = Callable[[Request, float, float, str], None]

TIMEOUT = "no answer in time"

#: Requests are looked through this often, in seconds, for one that has waited too long.
_LOOK_SECONDS = 0.05


class ConnectionPool:
    """Connections that are kept alive. A request that finds none free has a new one opened, up to a limit.

    So requests are on their way side by side, as those of independent users are. At the limit they wait here, and the
    time they wait counts.
    """

    def __init__(self, target: Target, done: Done, *, limit: int, timeout: float) -> None:
        self._target = target
        self._tls = target.tls_context() if target.rest.tls else None
        self._done = done
        self._limit = limit
        self._timeout = timeout
        self._idle: deque[Connection] = deque()
        self._busy: set[Connection] = set()
        self._waiting: deque[tuple[Request, float]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._connections = 0
        self.most = 0  # connections at once

    async def open(self, count: int) -> None:
        """Connect before there is anything to send; what fails will fail again, where it is counted."""
        for _ in range(min(count, self._limit)):
            self._connect()
        await asyncio.gather(*self._tasks)
        self._look()

    def send(self, request: Request, due: float) -> None:
        """Send now, or as soon as a connection is free."""
        if self._idle:
            # The one that was idle longest: all of them stay in use, and with them all workers of the server.
            connection = self._idle.popleft()
            self._busy.add(connection)
            connection.send(request, due)
            return
        self._waiting.append((request, due))
        if self._connections < self._limit and len(self._tasks) < len(self._waiting):
            self._connect()

    def free(self, connection: Connection) -> None:
        """The connection can take another request."""
        if self._waiting:
            self._busy.add(connection)
            connection.send(*self._waiting.popleft())
        else:
            self._busy.discard(connection)
            self._idle.append(connection)

    def over(self, request: Request, due: float, moment: float, outcome: str) -> None:
        """A request has its outcome."""
        self._done(request, due, moment, outcome)

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""
        self._connections -= 1
        self._busy.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        if self._waiting and self._connections < self._limit:
            self._connect()

    async def close(self) -> None:
        """Drop everything; what has no answer yet has none in time."""
        if self._watch is not None:
            self._watch.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        waiting, self._waiting = self._waiting, deque()
        for request, due in waiting:
            self._done(request, due, perf_counter(), TIMEOUT)
        for connection in [*self._busy, *self._idle]:
            connection.abort(TIMEOUT)
        await asyncio.sleep(0)

    def _connect(self) -> None:
        self._connections += 1
        self.most = max(self.most, self._connections)
        task = self._loop.create_task(self._connecting())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connecting(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                connection = await Connection.open(self, self._target.rest, self._tls)
        except OSError as error:
            self._connections -= 1
            # The request that asked for it, or the first of those that wait with it.
            if self._waiting:
                self._done(*self._waiting.popleft(), perf_counter(), _reason(error))
        else:
            self.free(connection)

    def _look(self) -> None:
        """Give up what has waited too long."""
        oldest = perf_counter() - self._timeout
        for connection in [each for each in self._busy if each.due < oldest]:
            connection.abort(TIMEOUT)
        while self._waiting and self._waiting[0][1] < oldest:
            self._done(*self._waiting.popleft(), perf_counter(), TIMEOUT)
        self._watch = self._loop.call_later(_LOOK_SECONDS, self._look)


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "cannot connect: no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "cannot connect: refused"
    if isinstance(error, ssl.SSLError):
        return f"cannot connect: {error.reason or 'TLS'}"
    return f"cannot connect: {error.strerror or error}"
