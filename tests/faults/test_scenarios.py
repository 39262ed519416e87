"""Every fault in its short form; `make faults` runs the long one."""

import asyncio

import pytest

from tests.faults.scenarios import SCENARIOS

#: A request that is never answered must fail a test, not hold up all others.
_LONGEST_SECONDS = 300


@pytest.mark.parametrize("name", SCENARIOS)
def test_fault(name: str) -> None:
    """Whatever goes wrong, a request that was accepted is answered right, and what was not is counted."""
    report = asyncio.run(asyncio.wait_for(SCENARIOS[name](True), _LONGEST_SECONDS))
    print("\n".join([*report.tally.lines(), *report.notes]))
