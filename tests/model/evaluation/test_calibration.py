"""Temperatures and thresholds that are chosen on held-out texts."""

from __future__ import annotations

import numpy as np
import pytest

from sentiment_conv1d.model.evaluation.calibration import (
    at_temperature,
    best_temperature,
    best_threshold,
    calibration,
)
from sentiment_conv1d.model.evaluation.evaluation import Evaluation


def overconfident(labels: int, factor: float, texts: int = 4000) -> Evaluation:
    """Return outputs whose logits are `factor` times those of a calibrated model. Two labels have one sigmoid."""
    chance = np.random.default_rng(5)
    probabilities = chance.dirichlet(np.ones(labels), texts)
    truth = (chance.random((texts, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).astype(np.int64)
    logits = np.log(probabilities) * factor
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    outputs = exponentials / exponentials.sum(axis=1, keepdims=True)
    names = tuple(f"label {number}" for number in range(labels))
    return Evaluation(names, truth.clip(0, labels - 1), outputs[:, 1:] if labels == 2 else outputs)


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("factor", [0.5, 1, 3])
def test_best_temperature(labels: int, factor: float) -> None:
    """Dividing the logits by the temperature calibrates the confidence and changes no predicted label."""
    before = overconfident(labels, factor)
    temperature = best_temperature(before.outputs, before.labels)
    assert temperature == pytest.approx(factor, rel=0.15)
    after = Evaluation(before.label_names, before.labels, at_temperature(before.outputs, temperature))
    assert after.expected_calibration_error < 0.03
    assert after.predicted.tolist() == before.predicted.tolist()
    assert at_temperature(after.outputs, 1 / temperature) == pytest.approx(before.outputs, abs=1e-4)


def test_temperature_of_few_texts() -> None:
    """Ten texts that are all classified correctly do not raise the confidence to 1."""
    labels = np.array([0, 1] * 5, np.int64)
    outputs = np.where(labels == 1, 0.9, 0.1)[:, None]
    assert at_temperature(outputs, best_temperature(outputs, labels)).max() == pytest.approx(6 / 7, abs=0.01)


def test_temperature_that_helps() -> None:
    """A temperature helps an overconfident model, measured on texts that it was not fitted on."""
    found = calibration(overconfident(3, 3, texts=400))
    assert found.helps
    assert found.texts == 400
    assert found.log_loss_after < found.log_loss_before
    assert found.error_after < found.error_before
    assert "used" in found.describe() and "not used" not in found.describe()


@pytest.mark.parametrize("texts", [1, 2, 119, 4000])
def test_temperature_that_does_not_help(texts: int) -> None:
    """A temperature does not help a calibrated model, and few texts do not prove that it helps."""
    found = calibration(overconfident(2, 1, texts))
    assert not found.helps
    assert "not used" in found.describe()


def test_best_threshold() -> None:
    """The threshold with the highest F1 lies between the outputs of the two labels. If 0.5 is as good, it is 0.5."""
    labels = np.array([0, 0, 0, 0, 1, 1], np.int64)
    assert best_threshold(np.array([[0.1], [0.1], [0.2], [0.2], [0.3], [0.4]]), labels) == pytest.approx(0.25)
    assert best_threshold(np.array([[0.1], [0.1], [0.2], [0.2], [0.7], [0.9]]), labels) == 0.5


def test_evaluation_with_a_threshold() -> None:
    """The predicted labels, the scores and the table of thresholds use the threshold of the evaluation."""
    evaluation = Evaluation(("no", "yes"), np.array([0, 0, 1, 1]), np.array([[0.1], [0.3], [0.4], [0.9]]), 0.35)
    assert evaluation.predicted.tolist() == [0, 0, 1, 1]
    no, yes = evaluation.thresholds()
    assert [row.threshold for row in no] == [number / 10 for number in range(1, 10)]
    rows = {row.threshold: row for row in yes}
    assert len(rows) == 10
    assert (rows[0.35].precision, rows[0.35].recall, rows[0.35].accuracy) == (1, 1, 1)
    assert (rows[0.5].recall, rows[0.2].precision) == (0.5, 2 / 3)
    assert (no[7].precision, no[7].recall, no[7].accuracy) == (1, 0.5, 0.75)


def test_thresholds_of_several_labels() -> None:
    """The scores of each label at a threshold compare it with all others, by its own probability."""
    probabilities = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.1, 0.3, 0.6]])
    evaluation = Evaluation(("a", "b", "c"), np.array([0, 1, 2]), probabilities)
    tables = evaluation.thresholds()
    assert [len(table) for table in tables] == [9, 9, 9]
    by_threshold = [{row.threshold: row[1:] for row in table} for table in tables]
    assert by_threshold[0][0.4] == (0.5, 1, 2 / 3, 2 / 3)
    assert by_threshold[1][0.3] == (0.5, 1, 2 / 3, 2 / 3)
    assert by_threshold[2][0.9] == (None, 0, 0, 2 / 3)


def test_worst_errors() -> None:
    """The worst errors are wrong predictions, in the order of the probability of the true label."""
    outputs = np.array([[0.9], [0.2], [0.99], [0.6]])
    evaluation = Evaluation(("no", "yes"), np.array([0, 0, 0, 1]), outputs)
    assert evaluation.worst_errors(5) == [2, 0]
    assert evaluation.worst_errors(1) == [2]
