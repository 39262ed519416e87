"""Counters and names in shared memory."""

from functools import partial

import pytest

from sentiment_conv1d.server.process.counters import Counters, Directory
from tests.processes import in_child


def test_rows_are_summed() -> None:
    """The totals include the counts of every worker, even after it has ended."""
    counters = Counters(workers=3, slots=4)

    def work(worker: int) -> None:
        counters.use(worker)
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
        counters.use(1)
        counters.row[0] += 5

    in_child(work)
    in_child(work)
    assert counters.table.tolist() == [[0], [10]]


def number(directory: Directory, name: str, free: str = "") -> int:
    """Return the number of a name in a directory. Names that begin with `free` can be replaced."""
    return directory.index(name, free=lambda other: other[:1] in set(free), clear=lambda _: None)


def test_names_have_the_same_number_everywhere() -> None:
    """The first process with a name assigns its number, and all processes see it."""
    directory = Directory(4, 4)
    assert number(directory, "a/1") == 0
    in_child(lambda: number(directory, "b/1"))
    assert list(directory) == ["a/1", "b/1"]
    assert [number(directory, name) for name in ("b/1", "c/1", "a/1")] == [1, 2, 0]


def test_oldest_free_name() -> None:
    """If all numbers are assigned, a new name gets the number of the oldest free name, with cleared counts."""
    directory = Directory(3, 3)
    for name in ("a", "b", "c"):
        number(directory, name)
    cleared: list[int] = []

    def clear(number: int) -> None:
        cleared.append(number)
        assert list(directory)[number] == "b"

    assert directory.index("d", free=lambda name: name in "bc", clear=clear) == 1
    assert cleared == [1]
    assert list(directory) == ["a", "d", "c"]
    assert number(directory, "e", free="acd") == 0
    assert number(directory, "f", free="cde") == 2
    assert number(directory, "g", free="def") == 1


def test_number_of_free_names() -> None:
    """A new name replaces a free one, although there are unused numbers, if there are too many free names."""
    directory = Directory(9, 2)
    for name in ("a", "b", "c", "d", "e"):
        number(directory, name, free="abde")
    assert list(directory) == ["c", "e", "d"]


def test_full_directory() -> None:
    """A name that is too long, or one too many, is refused."""
    directory = Directory(1, 1)
    number(directory, "a")
    assert number(directory, "a") == 0
    for name in ("b", "x" * 127):
        with pytest.raises(IndexError):
            number(directory, name)
    with pytest.raises(IndexError):
        number(directory, "a" * (Directory.LENGTH + 1), free="a")
    assert number(directory, "a" * Directory.LENGTH, free="a") == 0
