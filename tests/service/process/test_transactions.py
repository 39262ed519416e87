"""Orders, and the workers that end while they carry them out."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

from sentiment_conv1d.server.process.channel import Channel, pair
from sentiment_conv1d.server.process.worker_process import WorkerProcess
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
    """Return the orders that have arrived."""
    found = []
    while (received := channel.receive()) is not None:
        message, descriptor = received
        found.append(message["order"]["action"])
        if descriptor is not None:
            os.close(descriptor)
    return found


def test_no_worker_opens_the_version() -> None:
    """While the only worker is replaced, a load has no deadline, and the replacement opens the version."""
    transactions = Transactions(LoadedModels(), Metrics({}), lambda _: None, lambda: None, lambda *_: TRIAL, SECONDS)
    with worker(2) as (first, orders), worker(3) as (second, later_orders):
        workers = {first.pid: first}
        transactions.start(workers)
        load = {"kind": "ask", "ticket": 0, "order": Order("load", "tickets", 1, digest="new")._asdict()}
        transactions.received(first, load, os.open(os.devnull, os.O_RDONLY))
        transactions.child_ended(TRIAL, 0)
        assert actions(orders) == ["load", "prepare"]
        del workers[first.pid]
        transactions.worker_lost(first.pid)
        transactions.watch(monotonic() + 3 * SECONDS)
        workers[second.pid] = second
        transactions.worker_joined()
        assert actions(later_orders) == ["prepare"]
        transactions.close()
