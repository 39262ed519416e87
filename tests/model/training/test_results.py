"""The results of a training say whether the network is better than its baseline, and what may help."""

from __future__ import annotations

import numpy as np
import pytest

from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.model.evaluation.baseline import Baseline
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.training.results import Results


def evaluation(right: int) -> Evaluation:
    """Return 100 answers, of which the first `right` are right."""
    return Evaluation(("no", "yes"), np.ones(100, np.int64), np.where(np.arange(100) < right, 0.9, 0.1)[:, np.newaxis])


@pytest.mark.parametrize(
    ("network", "verdict"),
    [
        (95, "is more accurate than NB-SVM: +0.1500, 95% interval +0.0800"),
        (82, "is not significantly more or less accurate than NB-SVM: +0.0200, 95% interval +0.0000"),
        (79, "is not significantly more or less accurate than NB-SVM: -0.0100, 95% interval -0.0300"),
        (60, "is less accurate than NB-SVM: -0.2000, 95% interval -0.2800"),
    ],
)
def test_verdict(network: int, verdict: str) -> None:
    """A model is called more accurate only if the interval of the difference does not contain 0."""
    results = Results(evaluation(network), Baseline("NB-SVM", evaluation(80)), DecisionRule())
    assert results.verdict.startswith(f"The network {verdict}")


def test_warning() -> None:
    """If the baseline is right more often, the results warn with the advice, also within the interval."""
    results = Results(evaluation(79), Baseline("NB-SVM", evaluation(80)), DecisionRule(), advice=["this", "that"])
    assert list(results.lines("texts"))[-1] == "warning: NB-SVM is right more often than this network: try this or that"
    assert "warning" not in "".join(results._replace(network=evaluation(80)).lines("texts"))
