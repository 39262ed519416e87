"""The measures of segments: of the texts that have the same value in a column."""

import numpy as np
import pytest
from scipy.stats import fisher_exact

from sentiment_conv1d.model.evaluation.evaluation import Evaluation, EvaluationError
from sentiment_conv1d.model.evaluation.segments import by_segment


def evaluation(right: list[bool]) -> Evaluation:
    """Return an evaluation with these right and wrong predictions, all with a confidence of 0.9."""
    labels = np.arange(len(right)) % 2
    predicted = np.where(right, labels, 1 - labels)
    return Evaluation(("negative", "positive"), labels, np.where(predicted, 0.9, 0.1)[:, None])


def test_measures_of_segments() -> None:
    """Each segment has its number, accuracy, Wilson interval, confidence and calibration error, the worst one first."""
    values = ["shop"] * 10 + ["film"] * 10 + [" ", None]
    segments = by_segment(evaluation([True] * 9 + [False] + [True] * 8 + [False] * 2 + [True, False]), "kind", values)
    assert [(each.name, each.examples, each.accuracy) for each in segments.segments] == [
        ("(empty)", 2, 0.5),
        ("film", 10, 0.8),
        ("shop", 10, 0.9),
    ]
    shop = segments.segments[-1]
    assert shop.interval == pytest.approx((0.5958, 0.9821), abs=1e-4)  # Wilson's score interval of 9 in 10
    assert (shop.confidence, shop.expected_calibration_error) == pytest.approx((0.9, 0.0))
    assert segments.segments[1].expected_calibration_error == pytest.approx(0.1)
    assert segments.gap is None
    assert "fewer than two segments have at least 30 texts, so no gap is measured" in list(segments.lines())


def test_gap() -> None:
    """The gap is that between the best and the worst large segment, with Newcombe's interval."""
    # Newcombe (1998), table II: 56 of 70 and 48 of 80, method 10.
    right = [True] * 56 + [False] * 14 + [True] * 48 + [False] * 32 + [False] * 5
    segments = by_segment(evaluation(right), "kind", ["a"] * 70 + ["b"] * 80 + ["few"] * 5)
    gap = segments.gap
    assert gap is not None
    assert (gap.best.name, gap.worst.name) == ("a", "b")
    assert gap.difference == pytest.approx(0.2)
    assert gap.interval == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert gap.p_value == pytest.approx(fisher_exact([[56, 14], [48, 32]]).pvalue, abs=0.01)
    document = segments.document()
    assert document["gap"]["best"] == "a"
    assert document["segments"][0] == {
        "name": "few",
        "examples": 5,
        "accuracy": 0.0,
        "interval": pytest.approx((0.0, 0.4345), abs=1e-4),
        "confidence": pytest.approx(0.9),
        "expected_calibration_error": pytest.approx(0.9),
    }


def test_segments_without_errors() -> None:
    """If all predictions are right, there is no evidence of a difference."""
    segments = by_segment(evaluation([True] * 80), "kind", ["a"] * 40 + ["b"] * 40)
    assert segments.gap is not None
    assert (segments.gap.difference, segments.gap.p_value) == (0, 1)


def test_many_segments() -> None:
    """A terminal shows the least accurate segments, and a column with a value for each text is refused."""
    values = [f"segment {number}" for number in range(50)]
    lines = list(by_segment(evaluation([False] + [True] * 49), "kind", values).lines())
    assert lines[2].startswith("  segment 0 ")
    assert "  and 10 more, which are more accurate" in lines
    with pytest.raises(EvaluationError, match="the column 'id' has 1,001 different values, more than 1,000"):
        by_segment(evaluation([True] * 1001), "id", range(1001))
