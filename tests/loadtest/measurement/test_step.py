"""The results of a step: percentiles, and warnings about the generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadtest.generation.load import Found, Load
from loadtest.measurement.step import measure
from loadtest.run import warnings


def found(latency: float, late: dict[float, int], cpu: float = 0.1) -> Found:
    """Build a step of a thousand answers. `late` maps a lag in seconds to the number of requests with this lag."""
    lag = np.repeat(list(late), list(late.values()))
    return Found(
        seconds=10.0,
        due=np.arange(1000) / 100,
        latency=np.full(1000, latency),
        texts=np.ones(1000, np.int64),
        form=np.zeros(1000, np.int64),
        outcome=np.zeros(1000, np.int64),
        lag=lag,
        forms=["rest"],
        outcomes=["200"],
        cpu=[cpu],
    )


def test_results() -> None:
    """Percentiles are exact without interpolation, and the throughput counts the answers within the step."""
    step = found(0.0, {0.0: 1000})
    step.latency = np.random.default_rng(0).permutation(np.arange(1, 1001)) / 1000
    measured = measure(Load("rest", seconds=10.0, rate=100.0), step)
    assert {f"{at}": at / 100 for at in range(1, 100)}.items() <= measured.percentiles.items()
    assert measured.latency["p99"] == 0.99 and measured.latency["max"] == 1.0
    assert measured.throughput == (step.due + step.latency <= 10.0).sum() / 10.0


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (found(0.010, {0.00005: 1000}), ""),
        (
            found(0.010, {0.00005: 400, 0.002: 600}),
            "from sending on time, and the latencies include this delay: this step: p50 2.00 ms, p99 2.00 ms.",
        ),
        (found(0.100, {0.00005: 400, 0.002: 600}), ""),
        (found(0.010, {0.00005: 1000}, cpu=0.95), "The generator, not the server, was the bottleneck"),
        (found(0.010, {0.00005: 980, 0.004: 20}), "this step: p50 0.05 ms, p99 4.00 ms."),
        (found(0.010, {0.00005: 980, 0.002: 20}), ""),
        (found(0.010, {0.00005: 995, 0.004: 5}), ""),
        (found(0.001, {0.00005: 980, 0.0009: 20}), ""),
    ],
)
def test_late_generator(step: Found, said: str) -> None:
    """A warning names the generator if the lag of half of its requests, or of one in a hundred, affects the results."""
    measured = replace(measure(Load("rest", seconds=10.0, rate=100.0), step), title="this step")
    sentences = warnings([measured])
    assert len(sentences) == bool(said)
    assert said in "".join(sentences)
