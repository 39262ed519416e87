"""Counters in shared memory."""

from functools import partial

from sentiment_conv1d.server.process.counters import Counters
from tests.processes import in_child


def test_rows_are_summed() -> None:
    """The totals include the counts of every worker, even after it has ended."""
    counters = Counters(workers=3, slots=4)

    def work(worker: int) -> None:
        counters.choose_row(worker)
        for _ in range(1000):
            counters.row[2] += 1
        counters.row[3] = worker

    for worker in range(3):
        in_child(partial(work, worker))
    assert counters.table.sum(axis=0).tolist() == [0, 0, 3000, 3]


def test_counts_of_a_replaced_worker() -> None:
    """A worker that replaces another one adds to the same row."""
    counters = Counters(workers=2, slots=1)

    def work() -> None:
        counters.choose_row(1)
        counters.row[0] += 5

    in_child(work)
    in_child(work)
    assert counters.table.tolist() == [[0], [10]]
