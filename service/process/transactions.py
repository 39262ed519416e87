"""Carries orders to all workers. Every worker gets the same orders in the same sequence."""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

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

#: What the last process that a transaction waited for has done: answered, ended, or refused the version.
_Outcome: TypeAlias = Literal["answered", "ended"] | Order


@dataclass(eq=False)
class _Transaction:
    """One order, which owns its descriptor."""

    asking: WorkerProcess
    ticket: int
    order: Order
    descriptor: int | None = None  # of the files


@dataclass(eq=False)
class Transactions(Control):
    """Carries out orders one after the other."""

    _models: LoadedModels
    _metrics: Metrics
    _record: Callable[[Order], None]  # called with every order that all workers have carried out
    _refresh: Callable[[], None]  # reads the files that workers read again, for workers that start later
    _start_trial: Callable[[Order, int], int]  # starts a trial that writes to a descriptor; returns its process id
    _load_seconds: float
    _copies: Copies | None = None  # of a store
    _workers: Mapping[int, WorkerProcess] = field(default_factory=dict)  # the supervisor's, by process id
    _queue: deque[_Transaction] = field(default_factory=deque)  # the first one is being carried out
    _steps: Generator[None, _Outcome | None, str] | None = None  # of the first one, which yields while it waits
    _awaited: set[int] = field(default_factory=set)  # the processes that it waits for
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
            if self._steps is None:
                self._go_on()
        elif message["kind"] == "copy":
            assert self._copies is not None
            self._copies.ask(message["name"], partial(self._answer, worker, message["ticket"]))
        elif message["round"] == self._round:  # otherwise it is too late
            refusal = message["refusal"]
            self._done(worker.pid, "answered" if refusal is None else Order(**refusal))

    def worker_joined(self) -> None:
        """Let a new worker open the version that is being opened, too."""
        if self._steps is not None and not self._awaited:
            self._go_on()

    def worker_replaced(self, reason: Literal["died", "hung"]) -> None:
        """Count it."""
        self._metrics.count(REPLACED, reason)

    def worker_lost(self, pid: int) -> None:
        """Handle the end of a worker: the current order must not wait for it."""
        self._done(pid, "ended")

    def child_ended(self, pid: int, status: int) -> None:
        """Handle the end of a process that is no worker, with its status: the trial of a version has its result."""
        if self._copies is not None and pid == self._copies.pid:
            self._copies.end(status)
            return
        if pid != self._trial:
            return  # the first process of a container adopts all orphans
        self._trial = None
        try:
            trial.check(status, self._load_seconds)
        except ArtifactError as error:
            self._done(pid, self._queue[0].order.refusal(error.fault, str(error)))
        else:
            descriptor = self._queue[0].descriptor
            assert descriptor is not None
            self._done(pid, snapshot.order(descriptor))

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
            self._done(pid, self._queue[0].order.refusal("timeout", reason))

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

    def _done(self, pid: int, outcome: _Outcome) -> None:
        """Continue the current order if it has waited for this process, and waits for no other."""
        if pid in self._awaited:
            self._awaited.discard(pid)
            if not self._awaited:
                self._go_on(outcome)

    def _go_on(self, outcome: _Outcome | None = None) -> None:
        """Carry out orders until one has to wait."""
        self._give_up_at = inf
        while self._queue:
            if self._steps is None:
                self._steps, outcome = self._carry_out(self._queue[0]), None
            try:
                self._steps.send(outcome)
                return
            except StopIteration as end:
                self._steps = None
                self._finish(end.value)

    def _carry_out(self, current: _Transaction) -> Generator[None, _Outcome | None, str]:
        """Let all workers follow an order at once. Returns why they do not, or an empty string."""
        order, descriptor = current.order, None
        if objection := self._models.objection(order):
            return objection
        if order.action == "load":
            if order.fingerprint == self._models.served(order.name).get(order.version):
                return ""  # the second of two loads at the same time
            opened = yield from self._open(current)
            if isinstance(opened, str):
                return opened
            order = opened
            if order.action == "serve":
                descriptor, current.descriptor = current.descriptor, None
                order = order._replace(block=self._metrics.assign(order.key, order.labels or ()))
        self._ask(self._able(), order)
        self._models.follow(order, descriptor)
        if self._awaited:
            yield
        self._record(order)
        return order.reason

    def _open(self, current: _Transaction) -> Generator[None, _Outcome | None, Order | str]:
        """Let a separate process read and open a version, and then the workers open it one at a time, so that the
        others keep answering.

        Returns the order that follows, or why there is none. A version that costs a worker is refused.
        """
        order = current.order
        if self._stopped:
            return _SHUTTING_DOWN
        try:
            current.descriptor = snapshot.create()
            self._trial = self._start_trial(order, current.descriptor)
        except TransientError as error:  # the next scan of the repository tries again
            logger.error("version %d of %s is not opened: %s", order.version, order.name, error)
            return str(error)
        self._ask(self._able(), order)  # they report from now on that it is loading
        self._round += 1  # nothing waits for their answers
        self._awaited = {self._trial}
        outcome = yield
        if self._stopped:
            return _SHUTTING_DOWN
        assert isinstance(outcome, Order)
        if outcome.action != "serve":
            return outcome
        serve = outcome
        prepared: set[int] = set()
        while True:
            # A worker that is starting prepares too: it does not know this version from its fork.
            unprepared = [worker for worker in self._able() if worker.pid not in prepared]
            if unprepared:
                self._give_up_at = monotonic() + _WORKER_FACTOR * self._load_seconds
                self._ask(unprepared[:1], serve._replace(action="prepare"), current.descriptor)
            elif prepared:
                return serve
            outcome = yield  # without a worker: the only one ended before, and its replacement is not ready yet
            if self._stopped:
                return _SHUTTING_DOWN
            if isinstance(outcome, Order):
                return outcome
            if outcome == "answered":
                prepared.add(unprepared[0].pid)
            elif outcome == "ended":
                return order.refusal("crashed", "a worker ended while it opened it")

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
        finished = self._queue.popleft()
        self._answer(finished.asking, finished.ticket, problem)
        if finished.descriptor is not None:
            os.close(finished.descriptor)

    def _answer(self, asking: WorkerProcess, ticket: int, problem: str) -> None:
        running = asking.pid in self._workers
        if running and not asking.channel.send("result", ticket=ticket, problem=problem):
            logger.warning("worker %d did not receive the result of its order", asking.number)
