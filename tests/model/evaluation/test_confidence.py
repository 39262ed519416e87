"""The probability of each label from which a model is confident of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.model.evaluation.confidence import (
    confidence,
    confidence_lines,
    confident,
    confident_from,
    confident_values,
    least_predictions,
    with_limits,
)
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.evaluation.share import Share


def evaluation(rows: list[tuple[float, int]]) -> Evaluation:
    """Return an evaluation of a sigmoid with these outputs and labels."""
    outputs, labels = (np.array(column) for column in zip(*rows, strict=True))
    return Evaluation(("no", "yes"), labels, outputs[:, None])


def test_limits() -> None:
    """The limit is the lowest probability from which the interval of the share of right predictions is high enough."""
    # Of the 120 predictions of "yes", those from 0.8 on are right, and half of those at 0.6. "no" is wrong too often.
    rows = [(0.9, 1)] * 40 + [(0.8, 1)] * 40 + [(0.6, 1)] * 20 + [(0.6, 0)] * 20 + [(0.3, 0)] * 40 + [(0.3, 1)] * 80
    found = evaluation(rows)
    assert confident_from(found, 0.95) == {"no": None, "yes": pytest.approx(0.8)}  # from 0.9 on, there are too few
    assert confident_from(found, 0.75) == {"no": None, "yes": pytest.approx(0.6)}
    assert confident_from(found, 0.8) == {"no": None, "yes": pytest.approx(0.8)}  # 100 of 120 are right: 0.756 to 0.889
    # Half of the predictions at 0.6 are wrong. If they count little, the limit can be below them.
    weights = np.array([1.0 if label == 1 else 0.1 for _, label in rows])
    assert confident_from(found, 0.9, weights) == {"no": None, "yes": pytest.approx(0.6)}


def test_too_few_predictions() -> None:
    """A label has no limit if too few predictions show a precision, even if all of them are right."""
    assert [least_predictions(precision) for precision in (0.5, 0.9, 0.95)] == [4, 35, 73]
    rows = [(0.9, 1)] * 35 + [(0.1, 0)] * 34
    assert confident_from(evaluation(rows), 0.9) == {"yes": pytest.approx(0.9)}
    assert confident_from(evaluation(rows[1:]), 0.9) == {}
    assert with_limits(DecisionRule(), evaluation(rows[1:]), 0.9) == DecisionRule()
    assert with_limits(DecisionRule(), evaluation(rows), 0.9).min_precision == 0.9
    # Texts of very different weights count for fewer texts.
    weights = np.array([1.0] * 34 + [100.0] + [1.0] * 34)
    assert confident_from(evaluation(rows), 0.9, weights) == {}
    unread = [(0.95, 0), *rows]  # a wrong prediction that does not count
    assert confident_from(evaluation(unread), 0.9, np.array([0.0] + [1.0] * 69)) == {"yes": pytest.approx(0.9)}


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.7, 0.9, 1.0]), st.integers(0, 1)), min_size=1, max_size=150
    ),
    st.sampled_from([0.5, 0.8, 0.9]),
)
def test_precision_of_confident_predictions(rows: list[tuple[float, int]], precision: float) -> None:
    """On the texts that the limits were chosen on, the intervals of confident predictions are high enough."""
    found = evaluation(rows)
    sure = confident(found, with_limits(DecisionRule(), found, precision))
    for number in range(2):
        own = sure & (found.predicted == number)
        if own.any():
            assert Share(int((found.labels[own] == number).sum()), int(own.sum())).interval[0] >= precision


def test_description() -> None:
    """The share of confident predictions and the accuracies of both kinds are stated with intervals."""
    rule = DecisionRule(confident_from={"no": None, "yes": 0.8})
    found = evaluation([(0.9, 1), (0.8, 1), (0.8, 0), (0.7, 1), (0.1, 0)])
    assert confident(found, rule).tolist() == [True, True, True, False, False]
    assert confidence(found, rule) == {
        "confident_share": Share(3, 5),
        "confident_accuracy": Share(2, 3),
        "other_accuracy": Share(2, 2),
    }
    assert confident_values(found, rule)["confident_accuracy"] == pytest.approx(2 / 3)
    assert list(confidence_lines(found, rule)) == [
        "confident: 0.6000, 95% interval 0.2307 to 0.8824",
        "right if confident: 0.6667, 95% interval 0.2077 to 0.9385",
        "right if not confident: 1.0000, 95% interval 0.3424 to 1.0000",
    ]
    assert list(confidence(evaluation([(0.1, 0)]), rule)) == ["confident_share", "other_accuracy"]


def test_description_without_limits() -> None:
    """Labels without a limit are named, and their predictions are not confident. Without limits, no share is known."""
    found = evaluation([(0.9, 1), (0.1, 0)])
    assert confident_values(found, DecisionRule()) == {}
    assert list(confidence_lines(found, DecisionRule())) == ["without a limit, so `confident` is null: no, yes"]
    some = DecisionRule(confident_from={"yes": 0.8})
    assert confident(found, some).tolist() == [True, False]
    assert list(confidence_lines(found, some))[-1] == "without a limit, so `confident` is null: no"


def test_names_of_labels() -> None:
    """A rule keeps its limits under other names of the labels."""
    rule = DecisionRule(threshold=0.3, confident_from={"no": None, "yes": 0.8})
    assert rule.renamed({"no": "down", "yes": "up"}) == DecisionRule(
        threshold=0.3, confident_from={"down": None, "up": 0.8}
    )
