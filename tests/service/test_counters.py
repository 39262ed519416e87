"""Counters and names that processes share."""

import os

import pytest

from service.counters import Counters, Directory


def in_child(work: object) -> None:
    """Run `work` in a forked process and wait for it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()  # type: ignore[operator]
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_rows_are_summed() -> None:
    """What each worker added is in the totals, also after the worker has ended."""
    counters = Counters(workers=3, slots=4)

    def work(worker: int) -> None:
        counters.use(worker)
        for _ in range(1000):
            counters.row[2] += 1
        counters.row[3] = worker

    for worker in range(3):
        in_child(lambda worker=worker: work(worker))
    assert counters.totals().tolist() == [0, 0, 3000, 3]
    assert (counters.total(2), counters.largest(3)) == (3000, 2)


def test_a_replaced_worker_goes_on_counting() -> None:
    """A worker that takes the place of another adds to the same row."""
    counters = Counters(workers=2, slots=1)

    def work() -> None:
        counters.use(1)
        counters.row[0] += 5

    in_child(work)
    in_child(work)
    assert counters.total(0) == 10


def test_names_have_the_same_number_everywhere() -> None:
    """Whichever process comes first with a name gives it its number, and all see it."""
    directory = Directory(4)
    assert directory.index("a/1") == 0
    in_child(lambda: directory.index("b/1"))
    assert list(directory) == ["a/1", "b/1"]
    assert [directory.index(name) for name in ("b/1", "c/1", "a/1")] == [1, 2, 0]


def test_no_place_left() -> None:
    """A name too many, or one too long, is refused."""
    directory = Directory(1)
    directory.index("a")
    assert directory.index("a") == 0
    for name in ("b", "x" * 127):
        with pytest.raises(IndexError):
            directory.index(name)
