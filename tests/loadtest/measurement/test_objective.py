"""Objectives are parsed, and steps are compared with them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import LoadTestError
from loadtest.generation.load import Load
from loadtest.measurement.objective import parse
from loadtest.measurement.step import PERCENTILES, Step, measure
from tests.loadtest.measurement.test_step import found


def step(rate: float, p99: float = 0.01, failed: float = 0.0) -> Step:
    """Build a step of an open loop."""
    latency = dict.fromkeys((*PERCENTILES, "mean", "max"), p99)
    return replace(measure(Load(rate=rate), found(p99, {0.0: 1})), failed_share=failed, latency=latency)


def test_highest_rate() -> None:
    """`highest` returns the step with the highest rate that meets every condition."""
    objective = parse("p99<20ms, errors<0.1%")
    steps = [step(100), step(200, p99=0.019), step(300, failed=0.002), step(400, p99=0.02)]
    best = objective.highest(steps)
    assert best is not None and best.rate == 200
    assert objective.misses(steps[2]) == ["errors 0.200%"]
    assert objective.misses(steps[3]) == ["p99 20.0 ms"]


def test_verdict() -> None:
    """Every requested rate must meet the objective. Of rates that a search tried, one must, or the required one."""
    steps = [step(100), step(200, p99=0.5)]
    assert parse("p99<20ms").verdict(steps)
    assert parse("p99<1s").verdict(steps, 2)
    assert not parse("p99<20ms").verdict(steps, 2)
    assert parse("p99<20ms,rate>=100").verdict(steps)
    assert not parse("p99<20ms,rate>100/s").verdict(steps)
    assert not parse("p99<1ms").verdict(steps)
    assert not parse("p99<1ms").verdict([])


def test_step_without_answers() -> None:
    """A step without an answer meets no objective, not even one about errors."""
    assert parse("errors<=100%").misses(replace(step(1.0, failed=1.0), latency={})) == ["no answers"]


@given(
    name=st.sampled_from([*PERCENTILES, "mean", "max"]),
    comparison=st.sampled_from(["<", "<="]),
    number=st.decimals(0, 1000, places=3),
    unit=st.sampled_from([("us", 1e-6), ("ms", 1e-3), ("s", 1.0)]),
)
def test_bounds(name: str, comparison: str, number: float, unit: tuple[str, float]) -> None:
    """The unit of a bound determines its size."""
    [condition] = parse(f"{name}{comparison}{number}{unit[0]}").conditions
    assert condition.bound == pytest.approx(float(number) * unit[1])
    assert condition.holds(condition.bound) == (comparison == "<=")
    assert not condition.holds(condition.bound + 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p99",
        "p99<20",
        "p99>20ms",
        "p42<20ms",
        "p99<20ms,",
        "p99<-1ms",
        "errors<1ms",
        "errors>1%",
        "rate>=100",
        "rate<100,p99<1s",
        "p99<1s,rate>1,rate>2",
        "latency<1s",
        "p99=20ms",
    ],
)
def test_invalid_objectives(text: str) -> None:
    """An invalid objective is refused with an example of a valid one."""
    with pytest.raises(LoadTestError, match=r"objective is like|percentiles are"):
        parse(text)
