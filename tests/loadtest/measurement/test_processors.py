"""The processor time that other programs use beside a load test."""

import subprocess
import sys
from dataclasses import replace
from time import process_time

import pytest

from loadtest.generation.load import Load
from loadtest.measurement.processors import ProcessorTime, is_here, others
from loadtest.measurement.step import measure
from loadtest.run import warnings
from tests.loadtest.measurement.test_step import found
from tests.processes import PROJECT

#: Prints the share of other programs between two lines of input, and the seconds between them.
_MEASURE = """
from loadtest.measurement.processors import ProcessorTime, others
input()
before = ProcessorTime.read()
print("began", flush=True)
input()
after = ProcessorTime.read()
print(others(before, after, 0.0, 4), after.at - before.at)
"""


@pytest.mark.parametrize(
    ("machine", "test", "service", "share"),
    [
        (16.0, 16.0, 0.0, 0.0),  # the generators and the service that the test has started
        (16.0, 6.0, 10.0, 0.0),  # a service that ran before
        (16.0, 6.0, 2.0, 0.4),
        (2.0, 2.1, 0.0, 0.0),  # the kernel counts in ticks
    ],
)
def test_share(machine: float, test: float, service: float, share: float) -> None:
    """What remains of the machine's time without the generators and the service is that of other programs."""
    before, after = ProcessorTime(100.0, 7.0, 50.0), ProcessorTime(100.0 + machine, 7.0 + test, 55.0)
    assert others(before, after, service, 4) == pytest.approx(share)


def test_program_beside() -> None:
    """A program that uses a processor for a second is measured, and is none of the test's own processes."""
    with subprocess.Popen(
        [sys.executable, "-c", _MEASURE], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as measuring:
        assert measuring.stdin is not None and measuring.stdout is not None
        print(file=measuring.stdin, flush=True)
        assert measuring.stdout.readline() == "began\n"
        until = process_time() + 1.0
        while process_time() < until:
            pass
        print(file=measuring.stdin, flush=True)
        share, seconds = map(float, measuring.stdout.readline().split())
    assert share * seconds * 4 > 0.9


@pytest.mark.parametrize(
    ("other_programs", "cpu", "said"),
    [
        (0.05, 0.1, ""),
        (None, 0.1, ""),
        (
            0.62,
            0.03,
            "Discard this run: other programs used up to 62% of the machine, and 10% or more in 1 of 1 steps.",
        ),
    ],
)
def test_warning(other_programs: float | None, cpu: float, said: str) -> None:
    """If other programs used much of the machine, the report says so, and does not name the generator."""
    step = measure(Load("rest", seconds=10.0, rate=100.0), found(0.010, {0.00005: 1000}, cpu=cpu))
    assert warnings([replace(step, title="this step", other_programs=other_programs)]) == [said] * bool(said)


def test_is_here() -> None:
    """A service on this machine is told from one elsewhere."""
    assert is_here("127.0.0.1") and is_here("localhost")
    assert not is_here("192.0.2.1")  # reserved for documentation
