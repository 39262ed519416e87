"""Orders on their way through the workers, of which every one hears the same in the same sequence."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any

from sentiment_conv1d.service.models.replay_log import Order, ReplayLog
from sentiment_conv1d.service.process.worker_process import WorkerProcess

logger = logging.getLogger(__name__)

#: Seconds a worker may take to open a new version.
_PREPARE_TIMEOUT = 60.0

#: Workers that may end while they open a version before it is taken for the cause. One may have ended for another.
_MAX_LOST = 2


class _Transaction:
    """One order; it owns its descriptor."""

    def __init__(self, asking: WorkerProcess, ticket: int, order: Order, descriptor: int | None) -> None:
        self.asking = asking
        self.ticket = ticket
        self.order = order
        self.descriptor = descriptor
        self.round = -1
        self.missing: set[int] = set()  # who has not answered in this round
        self.prepared: set[int] = set()
        self.lost = 0  # workers that ended while they prepared
        self.give_up_at: float | None = None  # while workers prepare
        self.announced: Order | None = None  # what all workers follow in the end
        self.declined = ""


class Transactions:
    """Orders are carried out one after the other.

    `workers` are the supervisor's, by process id. `followed` hears of what all of them have followed.
    """

    def __init__(
        self, workers: Mapping[int, WorkerProcess], replay_log: ReplayLog, followed: Callable[[Order], None]
    ) -> None:
        self._workers = workers
        self._replay_log = replay_log
        self._followed = followed
        self._current: _Transaction | None = None
        self._waiting: list[_Transaction] = []
        self._rounds = itertools.count()

    def add(self, asking: WorkerProcess, ticket: int, order: Order, descriptor: int | None) -> None:
        """Carry out an order once those before it are done."""
        self._waiting.append(_Transaction(asking, ticket, order, descriptor))
        self._next()

    def answered(self, worker: WorkerProcess, message: dict[str, Any]) -> None:
        """A worker has done what it was asked, or says why it cannot."""
        transaction = self._current
        if transaction is None or message["round"] != transaction.round:
            return  # it comes too late
        transaction.missing.discard(worker.pid)
        transaction.prepared.add(worker.pid)
        if message["fault"]:
            self._refuse(transaction, message["fault"], message["reason"])
        else:
            self._go_on()
        self._next()

    def joined(self) -> None:
        """A worker that was forked is ready."""
        self._go_on()
        self._next()

    def lost(self, pid: int) -> None:
        """A worker ended, which the order on its way must not wait for."""
        transaction = self._current
        if transaction is None or pid not in transaction.missing:
            return
        transaction.missing.discard(pid)
        if transaction.give_up_at is not None:
            transaction.lost += 1
        if transaction.lost == _MAX_LOST:
            self._refuse(transaction, "crashed", f"{_MAX_LOST} workers ended while they opened it")
        else:
            self._go_on()
        self._next()

    def watch(self, now: float) -> None:
        """Give up an order that takes a worker too long."""
        transaction = self._current
        if transaction is not None and transaction.give_up_at is not None and now > transaction.give_up_at:
            self._refuse(transaction, "timeout", f"a worker took more than {_PREPARE_TIMEOUT:.0f} s to open it")
            self._next()

    def close(self) -> None:
        """Let go of the descriptors, as a worker does after its fork."""
        for transaction in (self._current, *self._waiting):
            if transaction is not None and transaction.descriptor is not None:
                os.close(transaction.descriptor)

    def _next(self) -> None:
        while self._current is None and self._waiting:
            transaction = self._current = self._waiting.pop(0)
            order = transaction.order
            transaction.declined = self._replay_log.objection(order)
            if transaction.declined or self._replay_log.needless(order):
                self._finish(transaction)
            elif order.action == "load":
                self._send(transaction, [worker for worker in self._workers.values() if not worker.killed], order)
                self._prepare(transaction)
            else:
                self._announce(transaction, order)

    def _prepare(self, transaction: _Transaction) -> None:
        """Have the next worker open the version beside those that it serves; when all have, have them serve it.

        One at a time, so that the others answer undisturbed, and a graph that brings a process down brings down one.
        """
        order = transaction.order
        # One that is starting hears it as soon as it is up: it was not told of this version when it was forked.
        missing = (worker for worker in self._workers.values() if worker.pid not in transaction.prepared)
        worker = next((worker for worker in missing if not worker.killed), None)
        if worker is not None:
            transaction.give_up_at = monotonic() + _PREPARE_TIMEOUT
            self._ask(transaction, {worker.pid: worker}, order._replace(action="prepare"))
        elif transaction.prepared:
            self._announce(transaction, order._replace(action="serve"))
        # Else the only worker ended. The one that takes its place opens it next, once it is up.

    def _announce(self, transaction: _Transaction, order: Order) -> None:
        """Have all workers follow an order at once."""
        transaction.give_up_at = None
        transaction.announced = order
        self._ask(transaction, {pid: worker for pid, worker in self._workers.items() if not worker.killed}, order)
        if order.action == "serve":
            descriptor, transaction.descriptor = transaction.descriptor, None
            self._replay_log.record(order, descriptor)
        else:
            self._replay_log.record(order)
        self._go_on()

    def _ask(self, transaction: _Transaction, workers: dict[int, WorkerProcess], order: Order) -> None:
        transaction.round = next(self._rounds)
        transaction.missing = set(workers)
        self._send(transaction, workers.values(), order)

    def _send(self, transaction: _Transaction, workers: Iterable[WorkerProcess], order: Order) -> None:
        """An order of this round; before the first one it is not one to be waited for."""
        descriptor = None if order.action == "load" else transaction.descriptor
        for worker in workers:
            if not worker.send("order", descriptor, round=transaction.round, order=order._asdict()):
                # It would serve other versions than the rest. One that has ended is replaced in any case.
                if not worker.ended:
                    logger.error("worker %d takes no orders", worker.number)
                worker.kill()

    def _refuse(self, transaction: _Transaction, fault: str, reason: str) -> None:
        """Have all workers know that a version is bad and why."""
        self._announce(transaction, transaction.order._replace(action="refuse", fault=fault, reason=reason))

    def _go_on(self) -> None:
        transaction = self._current
        if transaction is None or transaction.missing:
            return
        if transaction.give_up_at is None:
            self._finish(transaction)
        else:
            self._prepare(transaction)

    def _finish(self, transaction: _Transaction) -> None:
        self._current = None
        announced = transaction.announced
        if announced is not None:
            self._followed(announced)
        if transaction.asking.pid in self._workers:
            refusal = announced._asdict() if announced is not None and announced.action == "refuse" else None
            if not transaction.asking.send(
                "result", ticket=transaction.ticket, refusal=refusal, declined=transaction.declined
            ):
                logger.warning("worker %d does not listen", transaction.asking.number)
        if transaction.descriptor is not None:
            os.close(transaction.descriptor)
