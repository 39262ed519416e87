"""A service-level objective such as `p99<20ms,errors<0.1%`, and what texts cost at the highest rate that meets it."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from loadtest.errors import LoadTestError
from loadtest.measurement.step import PERCENTILES, Step
from loadtest.units import duration

_CONDITION = re.compile(r"(p\d+(?:\.\d+)?|mean|max|errors|rate)(<=|>=|<|>)(\d+(?:\.\d+)?)(us|ms|s|%|/s)?")
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}

_HELP = "an objective is like 'p99<20ms,errors<0.1%' or 'p95<=5ms,errors<1%,rate>=500'"


class Condition(NamedTuple):
    """One part of an objective."""

    text: str
    name: str
    comparison: str
    bound: float  # seconds, a share, or requests per second

    def holds(self, value: float) -> bool:
        """Return whether a value meets the condition."""
        return _COMPARISONS[self.comparison](value, self.bound)


class Objective(NamedTuple):
    """Conditions that every step must meet, and optionally a rate that a step must reach."""

    text: str
    conditions: tuple[Condition, ...]
    rate: Condition | None

    def misses(self, step: Step) -> list[str]:
        """Return the conditions that a step misses, with its values. A step without responses misses the objective."""
        if not step.latency:
            return ["no answers"]
        missed = []
        for condition in self.conditions:
            value = step.failed_share if condition.name == "errors" else step.latency[condition.name]
            if not condition.holds(value):
                shown = f"{value:.3%}" if condition.name == "errors" else duration(value)
                missed.append(f"{condition.name} {shown}")
        return missed

    def highest(self, steps: Sequence[Step]) -> Step | None:
        """Return the step with the highest rate that meets the objective."""
        meeting = [step for step in steps if not self.misses(step)]
        return max(meeting, key=lambda step: step.requested_rate, default=None)

    def verdict(self, steps: Sequence[Step], wanted: int = 1) -> bool:
        """Return whether the objective is met at as many rates as are `wanted`, by default at one, or at `rate`."""
        best = self.highest(steps)
        if best is None or sum(not self.misses(step) for step in steps) < wanted:
            return False
        return self.rate is None or self.rate.holds(best.requested_rate)


def parse(text: str) -> Objective:
    """Parse an objective. Raises `LoadTestError`, whose message shows examples."""
    conditions = []
    for part in text.replace(" ", "").split(","):
        found = _CONDITION.fullmatch(part)
        if found is None:
            raise LoadTestError(f"{part!r} is not a condition; {_HELP}")
        name, comparison, number, unit = found.groups()
        if name == "rate":
            valid, bound = unit in (None, "/s") and comparison in (">", ">="), float(number)
        elif name == "errors":
            valid, bound = unit in (None, "%") and comparison in ("<", "<="), float(number) / (100 if unit else 1)
        else:
            valid, bound = unit in _SECONDS and comparison in ("<", "<="), float(number) * _SECONDS.get(unit, 1)
            if name.startswith("p") and name not in PERCENTILES:
                raise LoadTestError(f"{part!r}: the percentiles are {', '.join(PERCENTILES)}")
        if not valid:
            raise LoadTestError(f"{part!r} is not a condition; {_HELP}")
        conditions.append(Condition(part, name, comparison, bound))
    rates = [condition for condition in conditions if condition.name == "rate"]
    others = tuple(condition for condition in conditions if condition.name != "rate")
    if len(rates) > 1 or not others:
        raise LoadTestError(f"{text!r} has no condition on latency or errors, or has two rates; {_HELP}")
    return Objective(text, others, rates[0] if rates else None)
