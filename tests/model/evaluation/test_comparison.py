"""The comparison of two models on the same texts."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.evaluation.comparison import Comparison
from sentiment_conv1d.model.evaluation.evaluation import Evaluation

LABELS = np.arange(1000) % 2


def evaluation(right: np.ndarray, confidence: float = 0.9) -> Evaluation:
    predicted = np.where(right, LABELS, 1 - LABELS)
    return Evaluation(("negative", "positive"), LABELS, np.where(predicted, confidence, 1 - confidence)[:, None])


def compared() -> Comparison:
    """Compare a model that is right on the first 800 texts with one that is right on those from 50 to 900."""
    number = np.arange(1000)
    return Comparison(("first", "second"), evaluation(number < 800), evaluation((number >= 50) & (number < 900), 0.8))


def test_paired_measures() -> None:
    """McNemar's test and the intervals are those of the paired texts."""
    comparison = compared()
    assert comparison.only_right == (50, 100)
    assert comparison.accuracy_difference == pytest.approx(0.05)
    assert comparison.p_value == binomtest(50, 150).pvalue
    low, high = comparison.accuracy_interval
    # The standard error of the mean of paired differences, of which 50 are -1, 100 are 1 and 850 are 0.
    error = 1.96 * np.sqrt((0.15 - 0.05**2) / 1000)
    assert (low, high) == pytest.approx((0.05 - error, 0.05 + error), abs=0.003)
    difference, interval = comparison.loss_difference
    assert difference == pytest.approx(comparison.second.log_loss - comparison.first.log_loss)
    assert interval is not None and interval[0] < difference < interval[1]
    lines = list(comparison.lines())
    assert lines[:2] == ["A: first", "B: second"]
    assert lines[3].split() == ["accuracy", "0.8000", "0.8500", "+0.0500"]
    assert "only A is right: 50 texts; only B is right: 100 texts" in lines


def test_equal_models() -> None:
    """A model does not differ from itself."""
    same = evaluation(np.arange(1000) < 800)
    comparison = Comparison(("a", "a"), same, same)
    assert (comparison.p_value, comparison.accuracy_interval, len(comparison.different)) == (1, (0, 0), 0)
    assert comparison.loss_difference == (0, None)
    assert any(line.endswith("not significant at 0.05") for line in comparison.lines())


def test_labels_in_another_order() -> None:
    """Models that list their labels in different orders are compared by the names of the labels."""
    first = evaluation(np.arange(1000) < 800)
    second = Evaluation(("positive", "negative"), 1 - LABELS, 1 - first.outputs)
    comparison = Comparison(("a", "b"), first, second)
    assert (comparison.only_right, len(comparison.different)) == ((0, 0), 0)


def test_file_of_differences(tmp_path: Path) -> None:
    """The file has each text with different predictions, and the largest change of the true label first."""
    first = compared().first
    outputs = np.where(np.arange(1000)[:, None] == 7, 0.999, first.outputs)
    comparison = Comparison(("a", "b"), Evaluation(first.label_names, LABELS, outputs), compared().second)
    examples = Examples([f"text {number}" for number in range(1000)], LABELS)
    comparison.write_differences(tmp_path / "differences.jsonl", examples)
    rows = [json.loads(line) for line in (tmp_path / "differences.jsonl").read_text().splitlines()]
    assert {row["text"] for row in rows} == {f"text {number}" for number in [*range(50), *range(800, 900)]}
    assert rows[0] == {
        "text": "text 7",
        "label": "positive",
        "predicted_a": "positive",
        "predicted_b": "negative",
        "probability_of_label_a": 0.999,
        "probability_of_label_b": 0.2,
    }
