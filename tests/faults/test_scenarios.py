"""Every fault in its short form; `make faults` runs the long one."""

import asyncio

import pytest

from tests.faults.scenarios import SCENARIOS

#: Detecting a worker that hangs takes long; tests/service/process/test_supervisor.py tests it without load.
LONG = {"hanging_worker"}

#: A request that is never answered must fail its test and not block the others.
_LONGEST_SECONDS = 300


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in LONG])
def test_fault(name: str) -> None:
    """During every fault, accepted requests get the right answer, and all others are counted."""
    report = asyncio.run(asyncio.wait_for(SCENARIOS[name](True), _LONGEST_SECONDS))
    print("\n".join([*report.tally.lines(), *report.notes]))
