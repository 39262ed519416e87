"""The probability of each label from which a model is confident of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.model.evaluation.confidence import (
    confidence_line,
    confident,
    confident_from,
    confident_values,
)
from sentiment_conv1d.model.evaluation.evaluation import Evaluation


def evaluation(rows: list[tuple[float, int]]) -> Evaluation:
    """Return an evaluation of a sigmoid with these outputs and labels."""
    outputs, labels = (np.array(column) for column in zip(*rows, strict=True))
    return Evaluation(("no", "yes"), labels, outputs[:, None])


def test_limits() -> None:
    """The limit is the lowest probability from which the share of right predictions is reached."""
    # Of the 30 predictions of "yes", those from 0.8 on are right, and half of those at 0.6. "no" is wrong too often.
    rows = [(0.9, 1)] * 10 + [(0.8, 1)] * 10 + [(0.6, 1)] * 5 + [(0.6, 0)] * 5 + [(0.3, 0)] * 10 + [(0.3, 1)] * 20
    found = evaluation(rows)
    assert confident_from(found, 0.99) == {"no": None, "yes": pytest.approx(0.8)}
    assert confident_from(found, 0.83) == {"no": None, "yes": pytest.approx(0.6)}
    assert confident_from(evaluation(rows[:19]), 0.5) == {"no": None, "yes": None}  # too few predictions
    # Half of the predictions at 0.6 are wrong. If they count little, the limit can be below them.
    weights = np.array([1.0 if label == 1 else 0.1 for _, label in rows])
    assert confident_from(found, 0.97, weights) == {"no": None, "yes": pytest.approx(0.6)}


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.7, 0.9, 1.0]), st.integers(0, 1)), min_size=1, max_size=90
    ),
    st.sampled_from([0.5, 0.8, 0.9]),
)
def test_precision_of_confident_predictions(rows: list[tuple[float, int]], precision: float) -> None:
    """On the texts that the limits were chosen on, confident predictions of each label have the precision."""
    found = evaluation(rows)
    sure = confident(found, DecisionRule(confident_from=confident_from(found, precision)))
    for number in range(2):
        own = sure & (found.predicted == number)
        assert not own.any() or np.mean(found.labels[own] == number) >= precision
        assert own.sum() == 0 or own.sum() >= 20


def test_description() -> None:
    """The share of confident predictions and the accuracies of both kinds are stated."""
    rule = DecisionRule(confident_from={"no": None, "yes": 0.8})
    found = evaluation([(0.9, 1), (0.8, 1), (0.8, 0), (0.7, 1), (0.1, 0)])
    assert confident(found, rule).tolist() == [True, True, True, False, False]
    assert confident_values(found, rule) == {"confident_share": 0.6, "confident_accuracy": pytest.approx(2 / 3)}
    assert confidence_line(found, rule) == (
        "confident: 3 texts, accuracy 0.6667; not confident: 2 texts, accuracy 1.0000"
    )
    assert confidence_line(evaluation([(0.1, 0)]), rule) == "confident: 0 texts; not confident: 1 text, accuracy 1.0000"
    assert confident_values(found, DecisionRule()) == {}


def test_names_of_labels() -> None:
    """A rule keeps its limits under other names of the labels."""
    rule = DecisionRule(threshold=0.3, confident_from={"no": None, "yes": 0.8})
    assert rule.renamed({"no": "down", "yes": "up"}) == DecisionRule(
        threshold=0.3, confident_from={"down": None, "up": 0.8}
    )
