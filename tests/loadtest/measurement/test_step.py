"""What is said of the generator itself: where the numbers are its fault, they say so."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.generation.load import Found, Load
from loadtest.measurement.step import measure
from loadtest.run import warnings


def found(latency: float, late: dict[float, int], cpu: float = 0.1) -> Found:
    """A step of a thousand answers; `late` says how many requests were sent how many seconds too late."""
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


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (found(0.010, {0.00005: 1000}), ""),
        (found(0.010, {0.00005: 400, 0.002: 600}), "The generator, not the server, was the bottleneck"),
        (found(0.100, {0.00005: 400, 0.002: 600}), ""),
        (found(0.010, {0.00005: 1000}, cpu=0.95), "The generator, not the server, was the bottleneck"),
        (found(0.010, {0.00005: 980, 0.004: 20}), "one request in a hundred was late (this step by 4.00 ms)"),
        (found(0.010, {0.00005: 980, 0.002: 20}), ""),
        (found(0.010, {0.00005: 995, 0.004: 5}), ""),
        (found(0.001, {0.00005: 980, 0.0009: 20}), ""),
    ],
)
def test_a_late_generator(step: Found, said: str) -> None:
    """It is named where half of its requests are so late that it matters, or one in a hundred."""
    measured = measure(Load("rest", seconds=10.0, rate=100.0), step) | {"title": "this step"}
    sentences = warnings([measured])
    assert len(sentences) == bool(said)
    assert said in "".join(sentences)
