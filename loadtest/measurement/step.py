"""The results of one step, ready for JSON: percentiles, throughput, failures by kind, and use of processors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from loadtest.generation.load import Floats, Found, Load
from loadtest.generation.rest import TIMEOUT
from loadtest.generation.rpc import OK

PERCENTILES = {"p50": 50.0, "p75": 75.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}

#: Parts of a step. Their differences show how much its numbers vary.
_SLICES = 8

#: Bounds of the histogram, in seconds: 20 per factor of ten.
_BUCKETS = np.geomspace(1e-5, 100.0, 141)

#: A generator that uses this share of a processor cannot send on time.
_SATURATED = 0.9

#: A generator is late if its median lag, or the 99th percentile, exceeds this number of seconds and this share of the
#: same percentile of the latency.
_LATE_SECONDS, _LATE_SHARES = 0.001, (0.1, 0.25)

#: The share of the machine from which on other programs change the numbers.
_DISTURBED = 0.1


@dataclass(frozen=True)
class Generator:
    """What the generators did in a step: shares of a processor, and by how many seconds requests were sent late."""

    processes: int
    cpu: float  # of all processes
    busiest_cpu: float
    lag_p50: float
    lag_p99: float
    bottleneck: bool  # whether a process used all of its processor
    late: bool = False  # whether the lag changes the latencies; missing in reports of earlier versions


@dataclass(frozen=True)
class Step:
    """A step in the form of the report. Times are in seconds, rates in requests per second."""

    loop: Literal["open", "closed"]
    traffic: str
    rate: float | None  # of an open loop
    callers: int | None  # of a closed loop
    seconds: float
    interrupted: bool
    requests: int
    answered: int
    throughput: float
    texts_per_second: float
    latency: dict[str, float]  # percentiles, mean, min and max; empty without a response
    percentiles: dict[str, float]
    histogram: list[dict[str, float]]
    failed: int
    failed_share: float
    outcomes: dict[str, int]  # requests by status, or by the reason why there was no response
    slices: list[dict[str, float]]
    forms: dict[str, dict[str, Any]]  # requests and latency by form
    connections: int
    generator: Generator
    title: str = ""
    server: dict[str, Any] | None = None  # as `loadtest.measurement.metrics.between` returns it
    machine_busy: float | None = None  # share of all processors
    other_programs: float | None = None  # share of the machine; missing in reports of earlier versions

    @property
    def requested_rate(self) -> float:
        """The rate of an open loop, 0 for a closed loop."""
        return self.rate or 0.0

    @property
    def cpu_per_text(self) -> float | None:
        """The processor time of the service per text, in seconds; None if it is unknown."""
        return None if self.server is None else self.server["cpu_per_text"]

    @property
    def disturbed(self) -> bool:
        """Whether other programs used so much of the machine that the numbers mean little."""
        return (self.other_programs or 0.0) >= _DISTURBED

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Step:
        """Return the step in a report. Raises `KeyError` or `TypeError` if the document is no step."""
        return cls(**{**document, "generator": Generator(**document["generator"])})


def measure(load: Load, found: Found) -> Step:
    """Return the results of a step.

    Percentiles include successful responses and timeouts, which count with the time that they waited. Other failures
    are counted but have no latency.
    """
    good = np.array([_succeeded(name) for name in found.outcomes], bool)[found.outcome]
    late = np.array([name == TIMEOUT for name in found.outcomes], bool)[found.outcome]
    in_time = good & (found.due + found.latency <= found.seconds)
    latency = found.latency[good | late]
    seconds = max(found.seconds, 1e-9)
    requests = len(found.due)
    failed = requests - int(good.sum())
    return Step(
        loop="open" if load.open else "closed",
        traffic=load.traffic,
        rate=load.rate,
        callers=load.callers,
        seconds=round(found.seconds, 3),
        interrupted=found.interrupted,
        requests=requests,
        answered=int(good.sum()),
        throughput=round(float(in_time.sum() / seconds), 3),
        texts_per_second=round(float(found.texts[in_time].sum() / seconds), 3),
        latency=_latency(latency),
        percentiles=_distribution(latency),
        histogram=_histogram(latency),
        failed=failed,
        failed_share=failed / requests if requests else 0.0,
        outcomes={
            name: int(count)
            for name, count in zip(found.outcomes, np.bincount(found.outcome, minlength=len(good)), strict=False)
        },
        slices=_slices(found, good, good | late),
        forms={
            name: {
                "requests": int((found.form == number).sum()),
                "latency": _latency(found.latency[(good | late) & (found.form == number)]),
            }
            for number, name in enumerate(found.forms)
        },
        connections=found.connections,
        generator=_generator(found, latency),
    )


def failures(steps: Iterable[Step]) -> list[tuple[str, int]]:
    """Return the failures of all steps with their counts, the most frequent first."""
    counts: Counter[str] = Counter()
    for step in steps:
        counts.update({outcome: count for outcome, count in step.outcomes.items() if not _succeeded(outcome)})
    return counts.most_common()


def knee(steps: Sequence[Step]) -> Step | None:
    """Return the step with the greatest ratio of throughput to mean latency among steps at several rates.

    The ratio is Kleinrock's power. Below the knee, more load adds little latency. Above it, latency grows faster than
    throughput.
    """
    able = [step for step in steps if step.latency]
    return max(able, key=lambda step: step.throughput / step.latency["mean"], default=None)


def most_disturbed(steps: Iterable[Step]) -> float | None:
    """Return the largest share of the machine that other programs used, or None if it is small in all steps."""
    return max((step.other_programs or 0.0 for step in steps if step.disturbed), default=None)


def _succeeded(outcome: str) -> bool:
    """Return whether an outcome, an HTTP or gRPC status or the reason why there was no response, is a success."""
    return outcome == OK or (outcome.isdigit() and 200 <= int(outcome) < 300)


def _latency(seconds: Floats) -> dict[str, float]:
    if not len(seconds):
        return {}
    values = dict(zip(PERCENTILES, _percentiles(seconds, list(PERCENTILES.values())), strict=True))
    values |= {"mean": float(seconds.mean()), "min": float(seconds.min()), "max": float(seconds.max())}
    return {name: round(value, 7) for name, value in values.items()}


def _distribution(seconds: Floats) -> dict[str, float]:
    """Return every whole percentile from 1 to 99, and some higher ones."""
    if not len(seconds):
        return {}
    wanted = [*range(1, 100), 99.5, 99.9, 99.99]
    return {f"{at:g}": round(value, 7) for at, value in zip(wanted, _percentiles(seconds, wanted), strict=True)}


def _percentiles(seconds: Floats, wanted: Sequence[float]) -> list[float]:
    # The smallest measured latency that this share of the requests does not exceed, without interpolation.
    values: list[float] = np.percentile(seconds, wanted, method="inverted_cdf").tolist()
    return values


def _histogram(seconds: Floats) -> list[dict[str, float]]:
    """Return the counts of all buckets, without the empty ones at both ends."""
    if not len(seconds):
        return []
    places = np.searchsorted(_BUCKETS, seconds)
    counts = np.bincount(places.clip(0, len(_BUCKETS) - 1), minlength=len(_BUCKETS))
    filled = np.flatnonzero(counts)
    return [
        {"from": round(float(_BUCKETS[max(place - 1, 0)]), 7), "to": round(float(_BUCKETS[place]), 7), "count": count}
        for place, count in enumerate(counts.tolist())
        if filled[0] <= place <= filled[-1]
    ]


def _slices(found: Found, good: np.ndarray[Any, Any], counted: np.ndarray[Any, Any]) -> list[dict[str, float]]:
    """Return equal parts of the step: responses by their end, latencies by when their requests were due."""
    length = found.seconds / _SLICES
    if length <= 0:
        return []
    came, due = ((found.due + found.latency) / length).astype(int), (found.due / length).astype(int)
    slices = []
    for number in range(_SLICES):
        latency = found.latency[counted & (due == number)]
        if len(latency):
            p50, p99 = _percentiles(latency, (50, 99))
            throughput = float((good & (came == number)).sum() / length)
            slices.append({"throughput": round(throughput, 3), "p50": round(p50, 7), "p99": round(p99, 7)})
    return slices


def _generator(found: Found, latency: Floats) -> Generator:
    lag = np.percentile(found.lag, (50, 99)).tolist() if len(found.lag) else [0.0, 0.0]
    saturated = max(found.cpu, default=0.0) >= _SATURATED
    latencies = np.percentile(latency, (50, 99)).tolist() if len(latency) else [0.0, 0.0]
    return Generator(
        processes=len(found.cpu),
        cpu=round(sum(found.cpu), 4),
        busiest_cpu=round(max(found.cpu, default=0.0), 4),
        lag_p50=round(lag[0], 7),
        lag_p99=round(lag[1], 7),
        bottleneck=saturated,
        late=any(
            own > max(_LATE_SECONDS, share * of) for own, share, of in zip(lag, _LATE_SHARES, latencies, strict=True)
        ),
    )
