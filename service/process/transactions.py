"""Carries orders to all workers. Every worker gets the same orders in the same sequence."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from sentiment_conv1d.service.models.replay_log import Order, ReplayLog
from sentiment_conv1d.service.process.worker_process import WorkerProcess

logger = logging.getLogger(__name__)

#: Seconds a worker may take to open a new version.
_PREPARE_TIMEOUT = 60.0

#: A version is refused after this many workers ended while they opened it. A single one can have another cause.
_MAX_LOST = 2


@dataclass(eq=False)
class _Transaction:
    """One order, which owns its descriptor."""

    asking: WorkerProcess
    ticket: int
    order: Order
    descriptor: int | None
    round: int = -1
    missing: set[int] = field(default_factory=set)  # workers that have not answered in this round
    prepared: set[int] = field(default_factory=set)
    lost: int = 0  # workers that ended while they prepared
    give_up_at: float | None = None  # set while workers prepare
    announced: Order | None = None  # the order that all workers follow in the end
    declined: str = ""


@dataclass(eq=False)
class Transactions:
    """Carries out orders one after the other."""

    _workers: Mapping[int, WorkerProcess]  # the supervisor's, by process id
    _replay_log: ReplayLog
    _followed: Callable[[Order], None]  # called with every order that all workers have followed
    _current: _Transaction | None = None
    _waiting: list[_Transaction] = field(default_factory=list)
    _rounds: Iterator[int] = field(default_factory=itertools.count)

    def add(self, asking: WorkerProcess, ticket: int, order: Order, descriptor: int | None) -> None:
        """Carry out an order after the orders before it."""
        self._waiting.append(_Transaction(asking, ticket, order, descriptor))
        self._next()

    def answered(self, worker: WorkerProcess, message: dict[str, Any]) -> None:
        """Handle a worker's answer: it has followed the order, or says why it could not."""
        transaction = self._current
        if transaction is None or message["round"] != transaction.round:
            return  # too late
        transaction.missing.discard(worker.pid)
        transaction.prepared.add(worker.pid)
        if message["fault"]:
            self._refuse(transaction, message["fault"], message["reason"])
        else:
            self._go_on()
        self._next()

    def joined(self) -> None:
        """Handle a new worker that is ready."""
        self._go_on()
        self._next()

    def lost(self, pid: int) -> None:
        """Handle the end of a worker: the current order must not wait for it."""
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
        """Refuse the current order if a worker takes too long."""
        transaction = self._current
        if transaction is not None and transaction.give_up_at is not None and now > transaction.give_up_at:
            self._refuse(transaction, "timeout", f"a worker took more than {_PREPARE_TIMEOUT:.0f} s to open it")
            self._next()

    def close(self) -> None:
        """Close the descriptors. A worker calls this after its fork."""
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
        """Let the next worker open the version without serving it. When all workers have opened it, let them serve it.

        Workers open it one at a time, so that the others keep answering, and a graph that crashes a process crashes
        only one.
        """
        order = transaction.order
        # A worker that is starting prepares too: it does not know this version from its fork.
        missing = (worker for worker in self._workers.values() if worker.pid not in transaction.prepared)
        worker = next((worker for worker in missing if not worker.killed), None)
        if worker is not None:
            transaction.give_up_at = monotonic() + _PREPARE_TIMEOUT
            self._ask(transaction, {worker.pid: worker}, order._replace(action="prepare"))
        elif transaction.prepared:
            self._announce(transaction, order._replace(action="serve"))
        # Otherwise the only worker ended. Its replacement opens the version when it is ready.

    def _announce(self, transaction: _Transaction, order: Order) -> None:
        """Let all workers follow an order at once."""
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
        """Send an order of this round. Before the first round, no answer is expected."""
        descriptor = None if order.action == "load" else transaction.descriptor
        for worker in workers:
            if not worker.channel.send("order", descriptor, round=transaction.round, order=order._asdict()):
                # The worker would serve other versions than the others. One that has ended is replaced anyway.
                if not worker.channel.closed:
                    logger.error("worker %d does not receive orders", worker.number)
                worker.kill()

    def _refuse(self, transaction: _Transaction, fault: str, reason: str) -> None:
        """Tell all workers that a version is refused, and why."""
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
            if not transaction.asking.channel.send(
                "result", ticket=transaction.ticket, refusal=refusal, declined=transaction.declined
            ):
                logger.warning("worker %d did not receive the result of its order", transaction.asking.number)
        if transaction.descriptor is not None:
            os.close(transaction.descriptor)
