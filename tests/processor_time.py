"""Measures the processor time of every test, and selects the tests that `make test` leaves to `make test-all`.

`pytest --processor-time FILE` appends a line of JSON for each test: its id, and the seconds of this process and of
child processes that have ended, with those of the fixtures that it was the first to use. `python -m
tests.processor_time FILE` writes `tests/slow.txt` from these lines.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest

#: Seconds above which a test is slow.
SLOW_SECONDS = 5.0

#: A line for each slow test: its seconds, and its id without parameters.
SLOW = Path(__file__).parent / "slow.txt"


def spent() -> float:
    """Return the seconds of processor time of this process and of its ended child processes."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--processor-time", metavar="FILE", help="append the processor time of every test to a file")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Append the time of a test to the file."""
    file: str | None = item.config.getoption("--processor-time")
    before = spent()
    try:
        return (yield)
    finally:
        if file is not None:
            with Path(file).open("a") as lines:  # other processes of the run append to it too
                lines.write(json.dumps({"test": item.nodeid, "seconds": round(spent() - before, 2)}) + "\n")


def slow_seconds() -> dict[str, float]:
    """Return the seconds of the slow tests, by id without parameters."""
    lines = (line.split(" ", 1) for line in SLOW.read_text().splitlines())
    return {test: float(seconds) for seconds, test in lines}


def measured(lines: str) -> dict[str, float]:
    """Return the seconds of tests by id without parameters, from the lines that were appended to a file.

    The time of a test with parameters is that of all of them.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    for line in lines.splitlines():
        each = json.loads(line)
        seconds[each["test"].partition("[")[0]] += each["seconds"]
    return dict(seconds)


if __name__ == "__main__":
    slow = {test: each for test, each in measured(Path(sys.argv[1]).read_text()).items() if each > SLOW_SECONDS}
    SLOW.write_text("".join(f"{slow[test]:.0f} {test}\n" for test in sorted(slow)))
