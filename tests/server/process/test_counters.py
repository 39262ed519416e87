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


def number(directory: Directory, key: str, content: str = "", free: str = "") -> int:
    """Return the number of a key in a directory. Keys that begin with `free` can be replaced."""
    return directory.index(key, content, free=lambda other: other[:1] in set(free), clear=lambda _: None)


def keys(directory: Directory) -> list[str]:
    """Return the keys in a directory."""
    return [key for key, _ in directory]


def test_keys_have_the_same_number_everywhere() -> None:
    """The first process with a key assigns its number, and all processes see it."""
    directory = Directory(4, 4)
    assert number(directory, "a/1", "x") == 0
    in_child(lambda: number(directory, "b/1", "y"))
    assert list(directory) == [("a/1", "x"), ("b/1", "y")]
    assert [number(directory, key) for key in ("b/1", "c/1", "a/1")] == [1, 2, 0]


def test_other_content() -> None:
    """A key keeps its number, with cleared counts, if its content changes."""
    directory = Directory(2, 2)
    for key in ("a", "b"):
        number(directory, key, "old")
    cleared: list[int] = []
    for content in ("new", "new", "old"):
        assert directory.index("b", content, free=lambda _: True, clear=cleared.append) == 1
    assert cleared == [1, 1]
    assert list(directory) == [("a", "old"), ("b", "old")]


def test_oldest_free_key() -> None:
    """If all numbers are assigned, a new key gets the number of the oldest free key, with cleared counts."""
    directory = Directory(3, 3)
    for key in ("a", "b", "c"):
        number(directory, key)
    cleared: list[int] = []

    def clear(number: int) -> None:
        cleared.append(number)
        assert keys(directory)[number] == "b"

    assert directory.index("d", "", free=lambda key: key in "bc", clear=clear) == 1
    assert cleared == [1]
    assert keys(directory) == ["a", "d", "c"]
    assert number(directory, "e", free="acd") == 0
    assert number(directory, "f", free="cde") == 2
    assert number(directory, "g", free="def") == 1


def test_number_of_free_keys() -> None:
    """A new key replaces a free one, although there are unused numbers, if there are too many free keys."""
    directory = Directory(9, 2)
    for key in ("a", "b", "c", "d", "e"):
        number(directory, key, free="abde")
    assert keys(directory) == ["c", "e", "d"]


def test_full_directory() -> None:
    """A key or content that is too long, or a key too many, is refused."""
    directory = Directory(1, 1)
    number(directory, "a")
    assert number(directory, "a") == 0
    for key in ("b", "x" * 127):
        with pytest.raises(IndexError):
            number(directory, key)
    long = "a" * Directory.KEY, "a" * Directory.LENGTH
    for key, content in ((f"{long[0]}a", ""), ("a", f"{long[1]}a")):
        with pytest.raises(IndexError):
            number(directory, key, content, free="a")
    assert number(directory, *long, free="a") == 0
    assert list(directory) == [long]
