"""Every fault in its short form. `make faults` runs the long form."""

import asyncio

import pytest

from tests.faults.scenarios import SCENARIOS

#: A request that is never answered must fail its test and not block the others.
_LONGEST_SECONDS = 1800


@pytest.mark.parametrize("name", SCENARIOS)
def test_fault(name: str) -> None:
    """During every fault, accepted requests get the right answer, and all others are counted."""
    report = asyncio.run(asyncio.wait_for(SCENARIOS[name](True), _LONGEST_SECONDS))
    print("\n".join([*report.tally.lines(), *report.notes]))
