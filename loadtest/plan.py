"""The plan of a test: its steps, and which rates to try next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.generation.load import Sending
from loadtest.measurement.objective import Objective
from loadtest.measurement.step import Step

#: Rates to try, as shares of the throughput of the closed loop. They are dense around the expected knee.
_SHARES = (0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)

#: The search ends when the ratio of the lowest bad rate to the highest good rate is below this.
_CLOSE = 1.03


@dataclass(frozen=True)
class Plan(Sending):
    """The steps that the command line asks for."""

    rates: tuple[float, ...] | None = None  # None: derived from the throughput of the closed loop
    concurrency: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    searches: int = 4  # the most steps of the search for the highest rate that meets the objective
    protocols: bool = True  # whether to measure every protocol

    def rates_for(self, throughput: float) -> tuple[float, ...]:
        """Return the rates of the open loop, in ascending order."""
        if self.rates is not None:
            return tuple(sorted(self.rates))
        return tuple(dict.fromkeys(readable(share * throughput) for share in _SHARES))


def readable(rate: float) -> float:
    """Round a rate to two or three digits, so that people can repeat it."""
    if rate < 10:
        return max(round(rate, 1), 0.1)
    step = 10 ** (len(str(int(rate))) - 2)
    return float(round(rate / step * 2) * step / 2)


def next_rate(objective: Objective, steps: Sequence[Step]) -> float | None:
    """Return the rate between the highest that meets the objective and the next one, or None if they are close."""
    best = objective.highest(steps)
    if best is None:
        return None
    rate = best.requested_rate
    worse = [step.requested_rate for step in steps if step.requested_rate > rate]
    if not worse or min(worse) / rate < _CLOSE:
        return None
    return float(round((rate + min(worse)) / 2))
