"""The statistics of one version, without a server."""

from __future__ import annotations

import numpy as np
import pytest

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.service.telemetry.layout import Metric
from sentiment_conv1d.service.telemetry.statistics import BatchTimes, Statistics

#: The upper bounds of the histograms.
BOUNDS = {
    "sentiment_stage_seconds": "1e-05 5e-05 0.00025 0.001 0.0025 0.01 0.05 0.25 1 30",
    "sentiment_batch_texts": "1 2 4 8 16 32 128 1024",
    "sentiment_score": "0.3 0.5 0.6 0.7 0.8 0.9 0.95 0.99",
}


def metric(statistics: Statistics, name: str) -> Metric:
    [found] = [each for each in statistics.layout.series if each.name == name]
    return found


def prediction(label: str) -> Prediction:
    return Prediction(label, np.float32(0.9), (np.float32(0.1), np.float32(0.9)), 5, 1, False, True)


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds(name: str) -> None:
    """The bounds of a histogram stay, because they are labels of its series, which dashboards and queries name."""
    declared = metric(Statistics(["no", "yes"]), name)
    assert [float(each) for each in BOUNDS[name].split()] == pytest.approx(
        [bound * declared.unit for bound in declared.bounds], rel=1e-12
    )


def test_many_labels() -> None:
    """Only the first 16 labels have a histogram of scores, and texts with another label are counted."""
    statistics = Statistics([f"label {number}" for number in range(20)])
    assert len(statistics.layout.series[metric(statistics, "sentiment_score")]) == 16
    statistics.count([prediction(f"label {number}") for number in range(20)], [0], BatchTimes(1, 2, 3), 0)
    assert statistics["texts"] == 20


def test_requests_that_run() -> None:
    """A request counts as running until it has ended."""
    statistics = Statistics(["no", "yes"])
    for _ in range(4):
        statistics.began()
    assert statistics["running"] == 4
    statistics.ended()
    statistics.ended(2)
    assert statistics["running"] == 1


def test_a_batch() -> None:
    """Every request of a batch has its own time in the queue, and the tokenization and inference of the whole batch."""
    statistics = Statistics(["no", "yes"])
    statistics.count([prediction("yes")] * 7, [100, 103, 105], BatchTimes(started=110, tokenize=20, infer=3), 140)
    assert (statistics["texts"], statistics.successes, statistics["success_time"]) == (7, 3, 40 + 37 + 35)
    assert [statistics[stage] for stage in ("queue", "tokenize", "infer")] == [10 + 7 + 5, 3 * 20, 3 * 3]


def test_failures() -> None:
    """A request that failed counts with its duration."""
    statistics = Statistics(["no", "yes"])
    statistics.failed(50)
    statistics.failed(70)
    assert (statistics["failures"], statistics["failure_time"]) == (2, 120)
