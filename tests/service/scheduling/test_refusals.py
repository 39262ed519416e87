"""Refusals get a part of the time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.service.scheduling.refusals import _BURST_SECONDS, _PART, RefusalBudget, RefusalCost

COST = RefusalCost(0.0001, 1e-8)

#: Seconds of the processor that a turn of the event loop takes.
TURN = 0.002


class Clocks:
    """The clocks of refusals, which stand still until they are set."""

    now = 100.0
    processor = 10.0  # seconds of the thread

    def work(self, budget: RefusalBudget, seconds: float) -> None:
        """End a turn of the event loop that takes so many seconds of the processor."""
        self.processor += seconds
        budget.measure()


@pytest.fixture(scope="module")
def clocks() -> Iterator[Clocks]:
    """Replace the clocks of refusals."""
    clocks = Clocks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sentiment_conv1d.service.scheduling.refusals.perf_counter", lambda: clocks.now)
        patch.setattr("sentiment_conv1d.service.scheduling.refusals.thread_time", lambda: clocks.processor)
        yield clocks


@pytest.fixture
def budget(clocks: Clocks) -> RefusalBudget:
    """Return a budget that was not used."""
    return RefusalBudget()


def test_measured_time(budget: RefusalBudget, clocks: Clocks) -> None:
    """Refusals pause reading for as long as they have taken, and not for as long as they can take."""
    for _ in range(100):
        budget.expect(0)
        budget.refuse(0, COST)
    clocks.work(budget, 0.004)
    assert budget.pause() == pytest.approx(0.004 / _PART - _BURST_SECONDS)
    clocks.now += budget.pause()
    assert budget.pause() == pytest.approx(0.0)


def test_most_time(budget: RefusalBudget, clocks: Clocks) -> None:
    """Refusals pause reading for no longer than they can take, by their number and their bytes."""
    for _ in range(10):
        budget.refuse(90_000, COST)
    clocks.work(budget, 5.0)
    assert budget.pause() == pytest.approx(0.01 / _PART - _BURST_SECONDS)


def test_accepted_requests(budget: RefusalBudget, clocks: Clocks) -> None:
    """Refusals have their part of the processor time by their number and bytes, and accepted requests the rest."""
    for size in (0, 0, 0, 65_536):
        budget.expect(size)
    budget.refuse(65_536, RefusalCost(1.0, 0.0))
    clocks.work(budget, 0.1)
    assert budget.pause() == pytest.approx(0.1 * 2 / 5 / _PART - _BURST_SECONDS)


def test_no_refusals(budget: RefusalBudget, clocks: Clocks) -> None:
    """Without refusals, nothing pauses, however much the event loop works."""
    budget.expect(0)
    clocks.work(budget, 5.0)
    assert budget.pause() == 0.0


def test_few_refusals(budget: RefusalBudget, clocks: Clocks) -> None:
    """A few refusals pause nothing."""
    for _ in range(10):
        budget.refuse(0, COST)
        clocks.work(budget, 0.0001)
    assert budget.pause() == 0.0


def test_rest_of_messages(budget: RefusalBudget, clocks: Clocks) -> None:
    """What refused messages take in later turns is time of their refusals."""
    for _ in range(100):
        budget.refuse(0, COST)
    for _ in range(4):
        clocks.work(budget, TURN / 2)
    assert budget.pause() == pytest.approx(2 * TURN / _PART - _BURST_SECONDS)


def _refuse(budget: RefusalBudget, clocks: Clocks, kinds: Sequence[tuple[int, float, bool]]) -> tuple[float, float]:
    """Let requests arrive as fast as they are read. Return the seconds, and those that refusals took.

    Each has a size, its seconds as a part of the most, of which half follow in the next turn, and may be accepted.
    """
    started, taken, rest, requests = clocks.now, 0.0, 0.0, cycle(kinds)
    while clocks.now < started + 1.0:
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
        clocks.now += read
        clocks.work(budget, read)
        clocks.now += budget.pause()
    return clocks.now - started, taken


@given(
    kinds=st.lists(
        st.tuples(st.integers(0, 1_000_000), st.floats(0.6, 0.9), st.booleans()), min_size=1, max_size=20
    ).filter(lambda kinds: not all(accepted for _, _, accepted in kinds))
)
def test_mix(clocks: Clocks, kinds: Sequence[tuple[int, float, bool]]) -> None:
    """Whatever mix of cheap and dear refusals and accepted requests arrives, refusals take at most a quarter."""
    seconds, taken = _refuse(RefusalBudget(), clocks, kinds)
    assert taken <= seconds / 4
