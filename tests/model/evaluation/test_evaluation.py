"""`Evaluation` agrees with scikit-learn and with numbers computed by hand, and has the properties of its measures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from sentiment_conv1d.model.evaluation.evaluation import (
    CALIBRATION_BINS,
    Evaluation,
    EvaluationError,
    label_probabilities,
)

BINARY = ("negative", "positive")


def binary(labels: list[int], positive: list[float]) -> Evaluation:
    """Build an evaluation of a sigmoid."""
    return Evaluation(BINARY, np.array(labels), np.array(positive)[:, None])


def random_evaluation(seed: int, labels: int, examples: int) -> Evaluation:
    """Return an evaluation in which most predictions are correct."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, labels, examples)
    scores = random.normal(0, 1, (examples, labels))
    scores[np.arange(examples), truth] += 1
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return Evaluation(tuple(f"label {number}" for number in range(labels)), truth, probabilities)


def test_opinions() -> None:
    """Among opinions, a text is answered correctly if its label is more probable than the opposite one."""
    labels = np.array([0, 2, 2, 0, 1, 1])
    outputs = [(0.3, 0.5, 0.2), (0.1, 0.7, 0.2), (0.5, 0.1, 0.4), (0.2, 0.2, 0.6), (0.1, 0.8, 0.1), (0.9, 0.0, 0.1)]
    found = Evaluation(("negative", "neutral", "positive"), labels, np.array(outputs))
    assert (found.accuracy, found.opinion_accuracy) == (1 / 6, 2 / 4)
    assert [*found.values()][:2] == ["accuracy", "opinion_accuracy"]
    assert found.part(labels == 1).opinion_accuracy is None
    for names in (("negative", "mixed", "positive"), ("no", "neutral", "yes")):
        assert "opinion_accuracy" not in Evaluation(names, labels, np.array(outputs)).values()


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    """Draw any labels, and any probabilities that a network can return."""
    labels, examples = draw(st.integers(2, 5)), draw(st.integers(1, 30))
    truth = draw(st.lists(st.integers(0, labels - 1), min_size=examples, max_size=examples))
    weights = st.lists(st.integers(0, 20), min_size=labels, max_size=labels).filter(any)
    rows = np.array(draw(st.lists(weights, min_size=examples, max_size=examples)), np.float64)
    kind: Any = draw(st.sampled_from([np.float32, np.float64]))
    probabilities = (rows / rows.sum(axis=1, keepdims=True)).astype(kind)
    return Evaluation(tuple(map(str, range(labels))), np.array(truth), probabilities)


def test_columns_of_a_sigmoid() -> None:
    """A single column is the probability of label 1, and becomes two columns."""
    probabilities = label_probabilities(np.array([[0.25], [1.0]], np.float32))
    assert probabilities.dtype == np.float64
    assert probabilities.tolist() == [[0.75, 0.25], [0.0, 1.0]]


def test_columns_of_a_softmax() -> None:
    """One column per label is returned unchanged."""
    assert label_probabilities(np.array([[0.25, 0.5, 0.25]], np.float32)).tolist() == [[0.25, 0.5, 0.25]]


@pytest.mark.parametrize("shape", [(3,), (3, 0), (3, 2, 1)])
def test_invalid_shapes(shape: tuple[int, ...]) -> None:
    """Outputs must have two dimensions and at least one column."""
    with pytest.raises(EvaluationError, match="answers must be"):
        label_probabilities(np.zeros(shape))


@given(st.lists(st.floats(0, 1, width=32).filter(lambda share: share != 0.5), min_size=1, max_size=30), st.data())
def test_sigmoid_equals_softmax(positive: list[float], data: st.DataObject) -> None:
    """A sigmoid and a softmax with the same two probabilities have equal measures, unless both are one half."""
    truth = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(positive), max_size=len(positive))))
    column = np.array(positive)[:, None]
    one = Evaluation(BINARY, truth, column)
    two = Evaluation(BINARY, truth, np.hstack([1 - column, column]))
    assert one.values() == two.values()
    assert one.confusion.tolist() == two.confusion.tolist()


def test_binary_numbers() -> None:
    """The measures of four reviews are those computed by hand."""
    evaluation = binary([0, 0, 1, 1], [0.1, 0.6, 0.8, 0.4])
    values = evaluation.values()
    assert evaluation.predicted.tolist() == [0, 1, 1, 0]
    assert evaluation.confusion.tolist() == [[1, 1], [1, 1]]
    assert values["accuracy"] == 0.5
    assert values["log_loss"] == pytest.approx(-(math.log(0.9) + math.log(0.4) + math.log(0.8) + math.log(0.4)) / 4)
    assert values["brier"] == pytest.approx((0.1**2 + 0.6**2 + 0.2**2 + 0.6**2) / 4)
    # Of the four pairs of a positive and a negative review, only (0.4, 0.6) is in the wrong order.
    assert values["roc_auc"] == pytest.approx(0.75)
    # The confidences are 0.9, 0.8, 0.6 and 0.6. The last two are in the same bin and both wrong.
    assert values["expected_calibration_error"] == pytest.approx((0.1 + 0.2 + 2 * 0.6) / 4)
    assert values["macro_f1"] == 0.5


def test_three_label_numbers() -> None:
    """The measures of three texts with three labels are those computed by hand."""
    probabilities = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    evaluation = Evaluation(("a", "b", "c"), np.array([0, 1, 2]), probabilities)
    values = evaluation.values()
    assert evaluation.confusion.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert values["accuracy"] == pytest.approx(2 / 3)
    assert values["log_loss"] == pytest.approx(-(math.log(0.7) + math.log(0.3) + math.log(0.8)) / 3)
    squares = (0.3**2 + 0.2**2 + 0.1**2) + (0.6**2 + 0.7**2 + 0.1**2) + (0.1**2 + 0.1**2 + 0.2**2)
    assert values["brier"] == pytest.approx(squares / 3)
    assert values["roc_auc"] == 1.0
    assert values["expected_calibration_error"] == pytest.approx((0.3 + 0.6 + 0.2) / 3)
    assert values["macro_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)


def test_scores_of_each_label() -> None:
    """Precision, recall, F1 and support are those computed by hand. A score is None if it would divide by zero."""
    probabilities = np.eye(4)[[0, 0, 1, 0]]
    evaluation = Evaluation(("a", "b", "c", "d"), np.array([0, 0, 1, 2]), probabilities)
    assert [tuple(scores.model_dump().values()) for scores in evaluation.per_label()] == [
        ("a", 2 / 3, 1.0, 4 / 5, 2, {"a": 2}),
        ("b", 1.0, 1.0, 1.0, 1, {"b": 1}),
        ("c", None, 0.0, 0.0, 1, {"a": 1}),
        ("d", None, None, None, 0, {}),
    ]
    assert evaluation.most_frequent_mistakes() == (None, None, ("a", 1), None)
    assert evaluation.macro_f1 == pytest.approx((0.8 + 1 + 0) / 3)


@pytest.mark.parametrize("labels", [2, 3, 7])
def test_scikit_learn(labels: int) -> None:
    """Measures that scikit-learn also has are equal to it."""
    evaluation = random_evaluation(labels, labels, 500)
    truth, probabilities, predicted = evaluation.labels, evaluation.probabilities, evaluation.predicted
    scores: npt.NDArray[Any] = probabilities[:, 1] if labels == 2 else probabilities
    values = evaluation.values()
    assert values["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert values["log_loss"] == pytest.approx(metrics.log_loss(truth, probabilities))
    assert values["macro_f1"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    assert values["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, scores, multi_class="ovr"))
    assert evaluation.confusion.tolist() == metrics.confusion_matrix(truth, predicted).tolist()


def test_brier_of_two_labels() -> None:
    """With two labels, the Brier score is the usual one for label 1, and not twice as large."""
    evaluation = random_evaluation(0, 2, 300)
    expected = metrics.brier_score_loss(evaluation.labels, evaluation.probabilities[:, 1])
    assert evaluation.brier == pytest.approx(expected)


def test_calibration_bins() -> None:
    """A bin has the mean confidence and the accuracy of its predictions, and includes its upper edge."""
    evaluation = binary([1, 0, 0, 1], [0.95, 0.99, 0.04, 10 / 15])
    bins = evaluation.calibration
    assert bins.counts.tolist() == [0] * 9 + [1] + [0] * 4 + [3]
    assert bins.confidence[14] == pytest.approx((0.95 + 0.99 + 0.96) / 3)
    assert bins.accuracy[14] == pytest.approx(2 / 3)
    assert bins.accuracy[9] == 1.0
    assert bins.edges.tolist() == pytest.approx([number / 15 for number in range(16)])


def test_loss_of_a_certain_error() -> None:
    """A true label with probability 0 has the finite loss that Keras computes."""
    assert binary([0], [1.0]).log_loss == pytest.approx(-math.log(1e-7))


@pytest.mark.parametrize("label", [0, 1])
def test_examples_of_one_label(label: int) -> None:
    """If all examples have the same label, ROC AUC is undefined and the other measures are defined."""
    evaluation = binary([label, label], [0.3, 0.8])
    assert evaluation.roc_auc is None
    assert evaluation.roc_curves == ()
    assert set(evaluation.values()) == {
        "accuracy",
        "log_loss",
        "brier",
        "expected_calibration_error",
        "macro_f1",
    }


def test_label_without_examples() -> None:
    """If a label has no examples, the other labels have ROC curves, and their mean is undefined."""
    evaluation = Evaluation(("a", "b", "c"), np.array([0, 1, 0]), np.eye(3)[[0, 1, 0]])
    assert [curve.label for curve in evaluation.roc_curves] == ["a", "b"]
    assert "roc_auc" not in evaluation.values()


@given(evaluations())
def test_accuracy_of_the_confusion_matrix(evaluation: Evaluation) -> None:
    """Accuracy is the trace of the confusion matrix divided by its sum, which is the number of examples."""
    assert evaluation.confusion.sum() == len(evaluation.labels)
    assert evaluation.accuracy == pytest.approx(np.trace(evaluation.confusion) / len(evaluation.labels))


@given(evaluations())
def test_ranges(evaluation: Evaluation) -> None:
    """Every measure is a finite float, and shares are between 0 and 1."""
    values = evaluation.values()
    assert all(type(value) is float and math.isfinite(value) for value in values.values())
    assert 0 <= values.pop("log_loss") <= -math.log(1e-7) + 1e-6
    assert 0 <= values.pop("brier") <= 2 + 1e-6
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in values.values())


@given(evaluations())
def test_every_example_is_counted(evaluation: Evaluation) -> None:
    """The support of the labels and the counts of the bins add up to the number of examples."""
    assert sum(scores.support for scores in evaluation.per_label()) == len(evaluation.labels)
    assert evaluation.calibration.counts.sum() == len(evaluation.labels)
    assert len(evaluation.calibration.counts) == CALIBRATION_BINS


@given(st.integers(2, 5), st.data())
def test_perfect_predictions(labels: int, data: st.DataObject) -> None:
    """For certain and correct predictions, accuracy, AUC and F1 are 1, and every error is 0."""
    others = data.draw(st.lists(st.integers(0, labels - 1), max_size=20))
    truth = np.array([*range(labels), *others])
    evaluation = Evaluation(tuple(map(str, range(labels))), truth, np.eye(labels)[truth])
    assert evaluation.values() == {
        "accuracy": 1.0,
        "log_loss": 0.0,
        "brier": 0.0,
        "roc_auc": 1.0,
        "expected_calibration_error": 0.0,
        "macro_f1": 1.0,
    }


@given(evaluations())
def test_order_of_examples(evaluation: Evaluation) -> None:
    """The order of the examples does not change the measures."""
    backwards = Evaluation(evaluation.label_names, evaluation.labels[::-1], evaluation.probabilities[::-1])
    assert backwards.values() == pytest.approx(evaluation.values())


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], np.zeros((0, 2)), "nothing to measure"),
        ([0, 1], [[0.5, 0.5]], "probabilities must be"),
        ([0], [[0.2, 0.3, 0.5]], "probabilities must be"),
        ([2], [[0.5, 0.5]], "from 0 to 1"),
        ([-1], [[0.5, 0.5]], "from 0 to 1"),
        ([0], [[math.nan, 0.5]], "went astray"),
        ([0], [[0.5, 0.6]], "not probabilities"),
        ([0], [[-0.5, 1.5]], "not probabilities"),
    ],
)
def test_invalid_evaluations(labels: list[int], probabilities: Any, message: str) -> None:
    """Labels and probabilities that do not fit together are refused, and the message says why."""
    with pytest.raises(EvaluationError, match=message):
        Evaluation(BINARY, np.array(labels, np.int64), np.array(probabilities))
