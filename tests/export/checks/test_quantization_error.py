"""The quantization error: small differences are reported, and a loss of accuracy is refused."""

import numpy as np
import pytest

from sentiment_conv1d.artifact.decision import THRESHOLD
from sentiment_conv1d.export.checks.accuracy import LabelledInputs
from sentiment_conv1d.export.checks.parity import Inputs
from sentiment_conv1d.export.checks.quantization_error import QuantizationError, measure_accuracy, measure_difference
from sentiment_conv1d.export.checks.served import Served
from sentiment_conv1d.model.evaluation.batches import Ids, Outputs, Predict
from sentiment_conv1d.model.evaluation.evaluation import EvaluationError
from tests import ids

SEQUENCE_LENGTH = 4
COUNT = 2000
LABELS = ("no", "yes")

#: Review number n holds the ids n and 1 + n % 2; its label is the second, less 1.
ROWS = [np.array([number, 1 + number % 2], np.int32) for number in range(COUNT)]
REVIEWS = LabelledInputs("made up", ROWS, np.array([number % 2 for number in range(COUNT)]))


def truth(tokens: Ids) -> Outputs:
    """Classify reviews without an error, with probabilities of 0.25 or 0.75."""
    answers: Outputs = (0.25 + 0.5 * (tokens[:, -1:] - 1)).astype(np.float32)
    return answers


class Wrong:
    """A classifier that changes the outputs of the first reviews with the label `yes`."""

    def __init__(self, reviews: int, by: float) -> None:
        self._reviews, self._by = reviews, by

    def __call__(self, tokens: Ids) -> Outputs:
        moved = (tokens[:, -1:] == 2) & (tokens[:, -2:-1] < 2 * self._reviews)
        answers: Outputs = truth(tokens) - (self._by * moved).astype(np.float32)
        return answers


def served(predict: Predict, threshold: float = THRESHOLD) -> Served:
    return Served(predict, ids.shape(SEQUENCE_LENGTH, 2), threshold)


def graphs(reviews: int, by: float, threshold: float = THRESHOLD) -> tuple[Served, Served]:
    return served(truth, threshold), served(Wrong(reviews, by), threshold)


def test_a_difference_is_reported() -> None:
    """The check reports the largest and mean difference and the changed labels, and no accuracy without labels."""
    rounding = measure_difference(*graphs(4, 0.0625), Inputs("made up", ROWS))
    assert (rounding.inputs, rounding.examples, rounding.changed_labels) == ("made up", COUNT, 0)
    assert (rounding.largest_difference, rounding.mean_difference) == (0.0625, 0.0625 * 4 / COUNT)
    assert (rounding.accuracy, rounding.float32_accuracy) == (None, None)


def test_a_probability_that_moves_far_is_refused() -> None:
    """A graph that changes a probability on generated ids too much is refused."""
    assert measure_difference(*graphs(1, 0.0999), REVIEWS)
    with pytest.raises(QuantizationError, match=r"made up: quantization changes a probability by 0.125, more than 0.1"):
        measure_difference(*graphs(1, 0.125), REVIEWS)


def test_loss_of_accuracy() -> None:
    """Two more wrong labels of two thousand are accepted, and three are refused."""
    rounding, measured = measure_accuracy(*graphs(2, 0.5), REVIEWS, LABELS)
    assert (rounding.accuracy, rounding.float32_accuracy, rounding.changed_labels) == (0.999, 1.0, 2)
    assert (len(measured.labels), measured.accuracy) == (COUNT, 0.999)
    with pytest.raises(
        QuantizationError, match=r"accuracy is 0.9985 with 8 bits and 1.0000 in float32; .* exceed 0.001"
    ):
        measure_accuracy(*graphs(3, 0.5), REVIEWS, LABELS)


def test_gain_of_accuracy() -> None:
    """An 8-bit graph may be more accurate than the float32 graph, and the check reports it."""
    rounding, _ = measure_accuracy(served(Wrong(9, 0.5)), served(truth), REVIEWS, LABELS)
    assert (rounding.accuracy, rounding.float32_accuracy, rounding.changed_labels) == (1.0, 1 - 9 / COUNT, 9)


def test_labels_follow_the_threshold_of_the_model() -> None:
    """A step from 0.75 to 0.6875 changes a label and the accuracy only if the threshold lies between the two."""
    for threshold, changed in ((0.5, 0), (0.7, 2)):
        moved = graphs(2, 0.0625, threshold)
        assert measure_difference(*moved, REVIEWS).changed_labels == changed
        rounding, measured = measure_accuracy(*moved, REVIEWS, LABELS)
        assert (rounding.changed_labels, rounding.accuracy) == (changed, 1 - changed / COUNT)
        assert measured.accuracy == 1 - changed / COUNT


def test_nan_is_refused() -> None:
    """NaN is refused with labels and without."""
    astray = graphs(1, float("nan"))
    with pytest.raises(QuantizationError, match="made up: the 8-bit graph returns NaN or infinity"):
        measure_difference(*astray, REVIEWS)
    with pytest.raises(EvaluationError, match="NaN"):
        measure_accuracy(*astray, REVIEWS, LABELS)
