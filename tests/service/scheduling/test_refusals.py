"""Refusals get a part of the time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.service.scheduling.refusals import _BURST_SECONDS, _PART, RefusalBudget, RefusalCost

COST = RefusalCost(0.0001, 1e-8)

#: Seconds for which connections are read in a turn of the event loop.
TURN = 0.002


class Clock:
    """The clock of refusals, which stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    """Replace the clock of refusals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sentiment_conv1d.service.scheduling.refusals.perf_counter", clock := Clock())
        yield clock


@pytest.fixture
def budget(clock: Clock) -> RefusalBudget:
    """Return a budget that was not used."""
    return RefusalBudget()


def test_measured_time(budget: RefusalBudget, clock: Clock) -> None:
    """Refusals pause reading for as long as they have taken, and not for as long as they can take."""
    for _ in range(100):
        budget.expect(0)
        budget.refuse(0, COST)
    budget.measure(0.004)
    assert budget.pause() == pytest.approx(0.004 / _PART - _BURST_SECONDS)
    clock.now += budget.pause()
    assert budget.pause() == pytest.approx(0.0)


def test_most_time(budget: RefusalBudget) -> None:
    """Refusals pause reading for no longer than they can take, by their number and their bytes."""
    for _ in range(10):
        budget.refuse(90_000, COST)
    budget.measure(5.0)
    assert budget.pause() == pytest.approx(0.01 / _PART - _BURST_SECONDS)


def test_accepted_requests(budget: RefusalBudget) -> None:
    """Refusals have their part of the time of reading by their number and bytes, and accepted requests the rest."""
    for size in (0, 0, 0, 65_536):
        budget.expect(size)
    budget.refuse(65_536, RefusalCost(1.0, 0.0))
    budget.measure(0.1)
    assert budget.pause() == pytest.approx(0.1 * 2 / 5 / _PART - _BURST_SECONDS)


def test_no_refusals(budget: RefusalBudget) -> None:
    """Without refusals, nothing pauses, however long reading takes."""
    budget.expect(0)
    budget.measure(5.0)
    assert budget.pause() == 0.0


def test_few_refusals(budget: RefusalBudget) -> None:
    """A few refusals pause nothing."""
    for _ in range(10):
        budget.refuse(0, COST)
        budget.measure(0.0001)
    assert budget.pause() == 0.0


def test_rest_of_messages(budget: RefusalBudget) -> None:
    """What is read of refused messages in later turns is time of their refusals."""
    for _ in range(100):
        budget.refuse(0, COST)
    for _ in range(4):
        budget.measure(TURN / 2)
    assert budget.pause() == pytest.approx(2 * TURN / _PART - _BURST_SECONDS)


def _refuse(budget: RefusalBudget, clock: Clock, kinds: Sequence[tuple[int, float, bool]]) -> tuple[float, float]:
    """Let requests arrive as fast as they are read. Return the seconds, and those that refusals took.

    Each has a size, its seconds as a part of the most, of which half follow in the next turn, and may be accepted.
    """
    started, taken, rest, requests = clock.now, 0.0, 0.0, cycle(kinds)
    while clock.now < started + 1.0:
        read, rest = rest, 0.0
        while read < TURN:
            size, part, accepted = next(requests)
            budget.expect(size)
            seconds = part * COST.request * (1 + size / 65_536)
            if not accepted:
                budget.refuse(size, COST)
                taken += seconds
            read += seconds / 2
            rest += seconds / 2
        clock.now += read
        budget.measure(read)
        clock.now += budget.pause()
    return clock.now - started, taken


@given(
    kinds=st.lists(
        st.tuples(st.integers(0, 1_000_000), st.floats(0.6, 0.9), st.booleans()), min_size=1, max_size=20
    ).filter(lambda kinds: not all(accepted for _, _, accepted in kinds))
)
def test_mix(clock: Clock, kinds: Sequence[tuple[int, float, bool]]) -> None:
    """Whatever mix of cheap and dear refusals and accepted requests arrives, refusals take at most a quarter."""
    seconds, taken = _refuse(RefusalBudget(), clock, kinds)
    assert taken <= seconds / 4
