"""Carries orders to all workers. Every worker gets the same orders in the same sequence."""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from sentiment_conv1d.artifact.artifact import ArtifactError
from sentiment_conv1d.artifact.errors import TransientError
from sentiment_conv1d.server.process.control import Control
from sentiment_conv1d.server.process.worker_process import WorkerProcess
from sentiment_conv1d.service.models import snapshot
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.process import trial
from sentiment_conv1d.service.telemetry.metrics import REPLACED, Metrics

if TYPE_CHECKING:
    from sentiment_conv1d.service.process.copies import Copies

logger = logging.getLogger(__name__)

#: A worker, which also answers requests, may take this many times as long to open a version as a process of its own.
_WORKER_FACTOR = 2

_SHUTTING_DOWN = "the service is shutting down"


class _State(Enum):
    """What the first order of the queue waits for. A load goes through all states, other orders only through the last.

    A separate process tries the version, and then the workers prepare to serve it one at a time, so that the others
    keep answering.
    """

    IDLE = auto()  # there is no order
    TRYING = auto()  # a process of its own reads and opens the version
    PREPARING = auto()  # a worker opens it
    FOLLOWING = auto()  # all workers follow the order


@dataclass(eq=False)
class _Transaction:
    """One order, which owns its descriptor."""

    asking: WorkerProcess
    ticket: int
    order: Order
    descriptor: int | None = None  # of the files
    serve: Order | None = None  # the order that follows when the workers are prepared
    prepared: set[int] = field(default_factory=set)  # the workers


@dataclass(eq=False)
class Transactions(Control):
    """Carries out orders one after the other. A version that costs a worker is refused."""

    _models: LoadedModels
    _metrics: Metrics
    _record: Callable[[Order], None]  # called with every order that all workers have carried out
    _refresh: Callable[[], None]  # reads the files that workers read again, for workers that start later
    _start_trial: Callable[[Order, int], int]  # starts a trial that writes to a descriptor; returns its process id
    _load_seconds: float
    _copies: Copies | None = None  # of a store
    _workers: Mapping[int, WorkerProcess] = field(default_factory=dict)  # the supervisor's, by process id
    _queue: deque[_Transaction] = field(default_factory=deque)  # the first one is being carried out
    _state: _State = _State.IDLE
    _awaited: set[int] = field(default_factory=set)  # the workers that it waits for
    _round: int = 0  # the number of the last order that was sent
    _trial: int | None = None  # the process that opens a version before the workers
    _give_up_at: float = inf  # while a worker opens a version
    _stopped: bool = False  # whether versions are no longer opened

    def start(self, workers: Mapping[int, WorkerProcess]) -> None:
        """Carry orders to these workers."""
        self._workers = workers

    def received(self, worker: WorkerProcess, message: dict[str, Any], descriptor: int | None) -> None:
        """Handle an order that a worker asks for, or its answer to one: it has followed it, or refuses the version."""
        if message["kind"] == "ask":
            self._queue.append(_Transaction(worker, message["ticket"], Order(**message["order"])))
            self._begin()
        elif message["kind"] == "copy":
            assert self._copies is not None
            self._copies.ask(message["name"], partial(self._answer, worker, message["ticket"]))
        elif message["round"] == self._round:  # otherwise it is too late
            refusal = message["refusal"]
            self._answered(worker.pid, None if refusal is None else Order(**refusal))

    def worker_joined(self) -> None:
        """Let a new worker open the version that is being opened if no other worker does."""
        if self._state is _State.PREPARING and not self._awaited:
            self._prepare(self._queue[0])
            self._begin()

    def worker_replaced(self, reason: Literal["died", "hung"]) -> None:
        """Count it."""
        self._metrics.count(REPLACED, reason)

    def worker_lost(self, pid: int) -> None:
        """Handle the end of a worker: the current order must not wait for it."""
        crashed = None
        if self._state is _State.PREPARING:
            crashed = self._queue[0].order.refusal("crashed", "a worker ended while it opened it")
        self._answered(pid, crashed)

    def child_ended(self, pid: int, status: int) -> None:
        """Handle the end of a process that is no worker, with its status: the trial of a version has its result."""
        if self._copies is not None and pid == self._copies.pid:
            self._copies.end(status)
            return
        if pid != self._trial:
            return  # the first process of a container adopts all orphans
        self._trial = None
        current = self._queue[0]
        assert current.descriptor is not None
        try:
            trial.check(status, self._load_seconds)
        except ArtifactError as error:
            self._tried(current, current.order.refusal(error.fault, str(error)))
        else:
            self._tried(current, snapshot.order(current.descriptor))
        self._begin()

    def every_second(self, now: float) -> None:
        """Refuse the current order, and kill the worker, if a worker takes too long. Read changed files and stores.

        A later worker can find an invalid file, and then goes on with what this process has read last.
        """
        self._refresh()
        if self._copies is not None:
            self._copies.every_second(now)
        if now > self._give_up_at:
            [pid] = self._awaited
            self._workers[pid].kill()
            reason = f"a worker took more than {_WORKER_FACTOR * self._load_seconds:g} s to open it"
            self._answered(pid, self._queue[0].order.refusal("timeout", reason))

    def stop(self) -> None:
        """Open and copy no more versions, and kill the processes that do, which must not outlive this process."""
        self._stopped = True
        if self._copies is not None:
            self._copies.stop()
        if self._trial is not None:
            os.kill(self._trial, signal.SIGKILL)

    def close(self) -> None:
        """Close the descriptors. A worker calls this after its fork."""
        for transaction in self._queue:
            if transaction.descriptor is not None:
                os.close(transaction.descriptor)
        if self._copies is not None:
            self._copies.close()

    def _begin(self) -> None:
        """Carry out the orders of the queue until one has to wait."""
        while self._state is _State.IDLE and self._queue:
            current = self._queue[0]
            order = current.order
            if objection := self._models.objection(order):
                self._finish(objection)
            elif order.action != "load":
                self._follow(order)
            elif order.fingerprint == self._models.served(order.name).get(order.version):
                self._finish("")  # the second of two loads at the same time
            else:
                self._try(current)

    def _try(self, current: _Transaction) -> None:
        """Let a separate process read and open a version."""
        order = current.order
        if self._stopped:
            self._finish(_SHUTTING_DOWN)
            return
        try:
            current.descriptor = snapshot.create()
            self._trial = self._start_trial(order, current.descriptor)
        except TransientError as error:  # the next scan of the repository tries again
            logger.error("version %d of %s is not opened: %s", order.version, order.name, error)
            self._finish(str(error))
            return
        self._ask(self._able(), order)  # they report from now on that it is loading
        self._awaited = set()  # nothing waits for their answers
        self._state = _State.TRYING

    def _tried(self, current: _Transaction, found: Order) -> None:
        """Go on with the order that the separate process has found."""
        if self._stopped:
            self._finish(_SHUTTING_DOWN)
        elif found.action == "serve":
            current.serve = found
            self._state = _State.PREPARING
            self._prepare(current)
        else:
            self._follow(found)

    def _prepare(self, current: _Transaction) -> None:
        """Let the next worker open a version, or let all serve it if all have opened it.

        A worker that is starting prepares too: it does not know this version from its fork. Without a worker, the only
        one has ended before, and its replacement is not ready yet.
        """
        assert current.serve is not None
        unprepared = [worker for worker in self._able() if worker.pid not in current.prepared]
        if unprepared:
            self._give_up_at = monotonic() + _WORKER_FACTOR * self._load_seconds
            self._ask(unprepared[:1], current.serve._replace(action="prepare"), current.descriptor)
        elif current.prepared:
            self._follow(current.serve)

    def _answered(self, pid: int, refusal: Order | None) -> None:
        """Go on if the current order has waited for this worker, and waits for no other. It may refuse the version."""
        if pid not in self._awaited:
            return
        self._awaited.discard(pid)
        if self._state is _State.PREPARING:
            self._give_up_at = inf
            current = self._queue[0]
            if self._stopped:
                self._finish(_SHUTTING_DOWN)
            elif refusal is not None:
                self._follow(refusal)
            else:
                current.prepared.add(pid)
                self._prepare(current)
        elif not self._awaited:
            self._followed()
        self._begin()

    def _follow(self, order: Order) -> None:
        """Let all workers follow an order at once."""
        current = self._queue[0]
        descriptor = None
        if order.action == "serve":
            descriptor, current.descriptor = current.descriptor, None
            order = order._replace(block=self._metrics.assign(order.key, order.labels or ()))
        current.order = order
        self._state = _State.FOLLOWING
        self._ask(self._able(), order)
        self._models.follow(order, descriptor)
        if not self._awaited:
            self._followed()

    def _followed(self) -> None:
        order = self._queue[0].order
        self._record(order)
        self._finish(order.reason)

    def _able(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers.values() if not worker.killed]

    def _ask(self, workers: list[WorkerProcess], order: Order, descriptor: int | None = None) -> None:
        """Send an order to workers, and wait for their answers. Those to earlier orders no longer count."""
        self._round += 1
        self._awaited = {worker.pid for worker in workers}
        for worker in workers:
            if not worker.channel.send("order", descriptor, round=self._round, order=order._asdict()):
                # The worker would serve other versions than the others. One that has ended is replaced anyway.
                if not worker.channel.closed:
                    logger.error("worker %d does not receive orders", worker.number)
                worker.kill()

    def _finish(self, problem: str) -> None:
        """Report the result of the first order to the worker that sent it."""
        self._state = _State.IDLE
        finished = self._queue.popleft()
        self._answer(finished.asking, finished.ticket, problem)
        if finished.descriptor is not None:
            os.close(finished.descriptor)

    def _answer(self, asking: WorkerProcess, ticket: int, problem: str) -> None:
        running = asking.pid in self._workers
        if running and not asking.channel.send("result", ticket=ticket, problem=problem):
            logger.warning("worker %d did not receive the result of its order", asking.number)
