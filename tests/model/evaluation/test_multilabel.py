"""Several labels of a text are measured as binary evaluations, with the means that are usual for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.model.evaluation.evaluation import Evaluation, EvaluationError
from sentiment_conv1d.model.evaluation.multilabel import MultilabelEvaluation, best_thresholds, evaluated

NAMES = ("toxic", "insult", "threat")
LIMITS = (0.5, 0.3, 0.8)

RANDOM = np.random.default_rng(0)
TRUTH = (RANDOM.random((300, 3)) < (0.5, 0.2, 0.1)).astype(np.int64)
OUTPUTS = np.clip(0.3 * TRUTH + RANDOM.random((300, 3)) * 0.7, 0, 1).astype(np.float32)


def test_measures() -> None:
    """The measures are those of scikit-learn."""
    found = MultilabelEvaluation(NAMES, TRUTH, OUTPUTS, LIMITS)
    predicted = np.array(LIMITS) <= OUTPUTS
    assert found.values() == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(TRUTH, predicted),
            "micro_f1": metrics.f1_score(TRUTH, predicted, average="micro"),
            "macro_f1": metrics.f1_score(TRUTH, predicted, average="macro"),
            "average_precision": metrics.average_precision_score(TRUTH, OUTPUTS, average="macro"),
            "roc_auc": metrics.roc_auc_score(TRUTH, OUTPUTS, average="macro"),
            "log_loss": np.mean([metrics.log_loss(TRUTH[:, each], OUTPUTS[:, each]) for each in range(3)]),
        }
    )
    for number, scores in enumerate(found.per_label()):
        assert scores.label == NAMES[number]
        assert scores.support == TRUTH[:, number].sum()
        assert scores.f1 == pytest.approx(metrics.f1_score(TRUTH[:, number], predicted[:, number]))
        assert scores.predicted == {
            name: int(predicted[TRUTH[:, number] == 1, other].sum()) for other, name in enumerate(NAMES)
        }


def test_a_label_that_no_text_has() -> None:
    """Measures over all thresholds leave such a label out, or are not defined."""
    truth, outputs = TRUTH.copy(), OUTPUTS.copy()
    truth[:, 2], outputs[:, 2] = 0, 0
    found = MultilabelEvaluation(NAMES, truth, outputs, LIMITS)
    assert "roc_auc" not in found.values()
    assert found.average_precision == pytest.approx(metrics.average_precision_score(truth[:, :2], outputs[:, :2]))
    assert found.macro_f1 == pytest.approx(
        metrics.f1_score(truth[:, :2], outputs[:, :2] >= LIMITS[:2], average="macro")
    )
    assert found.per_label()[2].f1 is None


def test_kinds() -> None:
    """The rule of a model decides how its answers are measured."""
    several = DecisionRule(thresholds=dict(zip(reversed(NAMES), reversed(LIMITS), strict=True)))
    found = evaluated(NAMES, TRUTH, OUTPUTS, several)
    assert isinstance(found, MultilabelEvaluation)
    assert tuple(found.limits) == LIMITS
    one = evaluated(("no", "yes"), TRUTH[:, 0], OUTPUTS[:, :1], DecisionRule(threshold=0.4))
    assert isinstance(one, Evaluation)
    assert one.threshold == 0.4


def test_invalid_outputs() -> None:
    """Outputs for other texts or labels, and outputs that are no probabilities, are errors."""
    for outputs in (OUTPUTS[:5], OUTPUTS[:, :2], OUTPUTS + 1, np.full_like(OUTPUTS, np.nan)):
        with pytest.raises(EvaluationError):
            MultilabelEvaluation(NAMES, TRUTH, outputs, LIMITS)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.6, 0.9, 1.0]), st.integers(0, 1)), min_size=1, max_size=20
    )
)
def test_best_thresholds(rows: list[tuple[float, int]]) -> None:
    """No other threshold has a higher F1 than the chosen one."""
    outputs = np.array([[output] for output, _ in rows], np.float32)
    truth = np.array([[label] for _, label in rows], np.int64)
    [threshold] = best_thresholds(["toxic"], truth, outputs).values()
    assert 0 < threshold < 1
    if not truth.any():
        assert threshold == 0.5
        return

    def f1(limit: float) -> float:
        said = outputs[:, 0] >= limit
        return 2 * float(np.sum(said & (truth[:, 0] == 1))) / float(said.sum() + truth.sum())

    assert f1(threshold) >= max(map(f1, np.linspace(0.01, 0.99, 99))) - 1e-12
