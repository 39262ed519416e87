"""Orders, and the workers that end while they carry them out."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

from sentiment_conv1d.server.process.channel import Channel, pair
from sentiment_conv1d.server.process.worker_process import WorkerProcess
from sentiment_conv1d.service.models import snapshot
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.process.transactions import Transactions
from sentiment_conv1d.service.telemetry.metrics import Metrics

#: The id of the process that opens a version before the workers, and the timeout of a load.
TRIAL, SECONDS = 1, 1.0


@contextmanager
def worker(pid: int) -> Iterator[tuple[WorkerProcess, Channel]]:
    """Yield a worker, and its own end of the channel."""
    ours, theirs = pair()
    with closing(ours), closing(theirs):
        yield WorkerProcess(0, pid, ours, joined=True), theirs


def actions(channel: Channel) -> list[Any]:
    """Return the orders that have arrived, and `result` for each of their results."""
    found = []
    while (received := channel.receive()) is not None:
        message, descriptor = received
        found.append(message["order"]["action"] if message["kind"] == "order" else message["kind"])
        if descriptor is not None:
            os.close(descriptor)
    return found


def start_trial(order: Order, descriptor: int) -> int:
    """Write what the trial of a valid version writes."""
    snapshot.write(descriptor, order._replace(action="serve", digest="new"), {})
    return TRIAL


def make(models: LoadedModels) -> Transactions:
    """Return transactions that log nothing."""
    return Transactions(models, Metrics({}), lambda _: None, lambda: None, start_trial, SECONDS)


def ask(transactions: Transactions, worker: WorkerProcess) -> None:
    """Let a worker ask for a version."""
    order = Order("load", "tickets", 1, fingerprint="of the files")
    transactions.received(worker, {"kind": "ask", "ticket": 0, "order": order._asdict()}, None)


def test_no_worker_opens_the_version() -> None:
    """While the only worker is replaced, a load has no deadline, and the replacement opens the version."""
    transactions = make(LoadedModels())
    with worker(2) as (first, orders), worker(3) as (second, later_orders):
        workers = {first.pid: first}
        transactions.start(workers)
        ask(transactions, first)
        assert actions(orders) == ["load"]
        del workers[first.pid]
        transactions.worker_lost(first.pid)
        transactions.child_ended(TRIAL, 0)
        transactions.every_second(monotonic() + 3 * SECONDS)
        workers[second.pid] = second
        transactions.worker_joined()
        assert actions(later_orders) == ["prepare"]
        transactions.close()


def test_worker_lost_at_shutdown() -> None:
    """A worker that ends while it opens a version, because the service shuts down, is no reason to refuse it."""
    transactions = make(LoadedModels())
    with worker(2) as (first, orders), worker(3) as (second, others):
        transactions.start({first.pid: first, second.pid: second})
        ask(transactions, first)
        transactions.child_ended(TRIAL, 0)
        assert actions(orders) == ["load", "prepare"]
        transactions.stop()
        transactions.worker_lost(first.pid)
        assert actions(others) == ["load"]


def test_second_of_two_loads() -> None:
    """Two workers that ask for the same files at the same time cause one trial."""
    models = LoadedModels()
    transactions = make(models)
    with worker(2) as (first, orders):
        transactions.start({first.pid: first})
        ask(transactions, first)
        ask(transactions, first)
        transactions.child_ended(TRIAL, 0)
        for number in (2, 3):  # the answers to the orders to prepare and to serve
            transactions.received(first, {"kind": "done", "round": number, "refusal": None}, None)
        assert actions(orders) == ["load", "prepare", "serve", "result", "result"]
        models.follow(Order("unload", "tickets"))
