"""Carries orders to all workers. Every worker gets the same orders in the same sequence."""

from __future__ import annotations

import itertools
import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal

from sentiment_conv1d.model.artifact import ArtifactError
from sentiment_conv1d.model.errors import TransientError
from sentiment_conv1d.server.process.control import Control
from sentiment_conv1d.server.process.worker_process import WorkerProcess
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.process import trial

logger = logging.getLogger(__name__)

#: A worker, which also answers requests, may take this many times as long to open a version as a process of its own.
_WORKER_FACTOR = 2

#: A version is refused after this many workers ended while they opened it. A single one can have another cause.
_MAX_LOST = 2


@dataclass(eq=False)
class _Transaction:
    """One order, which owns its descriptor."""

    asking: WorkerProcess
    ticket: int
    order: Order
    descriptor: int | None
    trial: int | None = None  # the process that opens the version first
    proven: bool = False  # it has ended in time
    round: int = -1
    missing: set[int] = field(default_factory=set)  # workers that have not answered in this round
    prepared: set[int] = field(default_factory=set)
    lost: int = 0  # workers that ended while they prepared
    give_up_at: float = float("inf")  # while workers prepare
    announced: Order | None = None  # the order that all workers follow in the end


@dataclass(eq=False)
class Transactions(Control):
    """Carries out orders one after the other."""

    _models: LoadedModels
    _followed: Callable[[Order], None]  # called with every order that all workers have followed
    _replaced: Callable[[Literal["died", "hung"]], None]  # called with the reason when a worker is replaced
    _refresh: Callable[[], None]  # reads the files that workers read again, for workers that start later
    _attempt: Callable[[Order, int], int]  # starts a trial of the version in a descriptor, and returns its process id
    _load_seconds: float
    _workers: Mapping[int, WorkerProcess] = field(default_factory=dict)  # the supervisor's, by process id
    _queue: deque[_Transaction] = field(default_factory=deque)  # the first one is being carried out
    _rounds: Iterator[int] = field(default_factory=itertools.count)
    _stopped: bool = False  # whether versions are no longer opened

    def start(self, workers: Mapping[int, WorkerProcess]) -> None:
        """Carry orders to these workers."""
        self._workers = workers

    def received(self, worker: WorkerProcess, message: dict[str, Any], descriptor: int | None) -> None:
        """Handle an order that a worker asks for, or its answer to one."""
        if message["kind"] == "ask":
            self._queue.append(_Transaction(worker, message["ticket"], Order(**message["order"]), descriptor))
            self._go_on()
        else:
            self._answered(worker, message)

    def worker_joined(self) -> None:
        """Let a new worker open the version that is being opened, too."""
        self._go_on()

    def worker_replaced(self, reason: Literal["died", "hung"]) -> None:
        """Count it."""
        self._replaced(reason)

    def _answered(self, worker: WorkerProcess, message: dict[str, Any]) -> None:
        """Handle a worker's answer: it has followed the order, or refuses the version."""
        if not self._queue or message["round"] != self._queue[0].round:
            return  # too late
        current = self._queue[0]
        current.missing.discard(worker.pid)
        current.prepared.add(worker.pid)
        if message["refusal"] is not None:
            self._announce(current, Order(**message["refusal"]))
        self._go_on()

    def worker_lost(self, pid: int) -> None:
        """Handle the end of a worker: the current order must not wait for it."""
        if not self._queue or pid not in self._queue[0].missing:
            return
        current = self._queue[0]
        current.missing.discard(pid)
        if current.announced is None:
            current.give_up_at = float("inf")  # until the next worker prepares
            current.lost += 1
            if current.lost == _MAX_LOST:
                self._refuse(current, "crashed", f"{_MAX_LOST} workers ended while they opened it")
        self._go_on()

    def child_ended(self, pid: int, status: int) -> None:
        """Handle the end of a process that is no worker, with its status: refuse the version if its trial failed."""
        if not self._queue or self._queue[0].trial != pid:
            return  # the first process of a container adopts all orphans
        current = self._queue[0]
        current.trial = None
        current.missing.clear()
        if not self._stopped:  # otherwise `stop` has killed it
            current.proven = True
            try:
                trial.check(status, self._load_seconds)
            except ArtifactError as error:
                self._refuse(current, error.fault, str(error))
        self._go_on()

    def watch(self, now: float) -> None:
        """Refuse the current order, and kill the worker, if a worker takes too long. Read changed files.

        A later worker can find an invalid file, and then goes on with what this process has read last.
        """
        self._refresh()
        if self._queue and now > self._queue[0].give_up_at:
            current = self._queue[0]
            for pid in current.missing:
                self._workers[pid].kill()
            seconds = _WORKER_FACTOR * self._load_seconds
            self._refuse(current, "timeout", f"a worker took more than {seconds:g} s to open it")
            self._go_on()

    def stop(self) -> None:
        """Open no more versions, and kill the trial, if there is one: it must not outlive this process."""
        self._stopped = True
        if self._queue and (pid := self._queue[0].trial) is not None:
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the descriptors. A worker calls this after its fork."""
        for transaction in self._queue:
            if transaction.descriptor is not None:
                os.close(transaction.descriptor)

    def _go_on(self) -> None:
        """Carry out orders until one has to wait for workers.

        A separate process opens a version first. Then workers open it one at a time, so that the others keep
        answering.
        """
        while self._queue and not self._queue[0].missing:
            current = self._queue[0]
            order = current.order
            # A worker that is starting prepares too: it does not know this version from its fork.
            unprepared = [worker for worker in self._able() if worker.pid not in current.prepared]
            if current.announced is not None:
                self._followed(current.announced)
                self._finish(current.announced.reason)
            elif objection := self._models.objection(order):
                self._finish(objection)
            elif order.action == "load" and order.digest == self._models.digest(*order.key):
                self._finish("")  # the second of two loads at the same time
            elif order.action != "load":
                self._announce(current, order)
            elif not current.proven and self._stopped:
                self._finish("the service is shutting down")
            elif not current.proven:
                self._try(current)
            elif unprepared:
                self._prepare(current, unprepared[0])
            elif current.prepared:
                self._announce(current, order._replace(action="serve"))
            else:
                return  # the only worker ended: its replacement opens the version when it is ready

    def _try(self, current: _Transaction) -> None:
        """Let a separate process open the version. All workers report from now on that it is loading."""
        try:
            current.trial = self._start_trial(current)
        except TransientError as error:  # the next scan of the repository tries again
            logger.error("version %d of %s is not opened: %s", current.order.version, current.order.name, error)
            self._finish(str(error))
            return
        self._ask(current, self._able(), current.order)
        current.round = next(self._rounds)  # nothing waits for their answers
        current.missing = {current.trial}

    def _start_trial(self, current: _Transaction) -> int:
        if current.descriptor is None:
            raise TransientError("the system does not pass on its files, because too many are open")
        return self._attempt(current.order, current.descriptor)

    def _prepare(self, current: _Transaction, worker: WorkerProcess) -> None:
        """Let a worker open the version without serving it."""
        current.give_up_at = monotonic() + _WORKER_FACTOR * self._load_seconds
        self._ask(current, [worker], current.order._replace(action="prepare"), current.descriptor)

    def _refuse(self, current: _Transaction, fault: str, reason: str) -> None:
        """Tell all workers that a version is refused, and why."""
        self._announce(current, current.order.refusal(fault, reason))

    def _announce(self, current: _Transaction, order: Order) -> None:
        """Let all workers follow an order at once."""
        current.give_up_at = float("inf")
        current.announced = order
        self._ask(current, self._able(), order)
        descriptor = None
        if order.action == "serve":
            descriptor, current.descriptor = current.descriptor, None
        self._models.follow(order, descriptor)

    def _able(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers.values() if not worker.killed]

    def _ask(
        self, current: _Transaction, workers: list[WorkerProcess], order: Order, descriptor: int | None = None
    ) -> None:
        """Send an order to workers, and wait for their answers. Those to earlier orders no longer count."""
        current.round = next(self._rounds)
        current.missing = {worker.pid for worker in workers}
        for worker in workers:
            if not worker.channel.send("order", descriptor, round=current.round, order=order._asdict()):
                # The worker would serve other versions than the others. One that has ended is replaced anyway.
                if not worker.channel.closed:
                    logger.error("worker %d does not receive orders", worker.number)
                worker.kill()

    def _finish(self, problem: str) -> None:
        """Report the result of the first order to the worker that sent it."""
        finished = self._queue.popleft()
        asking = finished.asking
        running = asking.pid in self._workers
        if running and not asking.channel.send("result", ticket=finished.ticket, problem=problem):
            logger.warning("worker %d did not receive the result of its order", asking.number)
        if finished.descriptor is not None:
            os.close(finished.descriptor)
