"""The quality of a trained classifier: its probabilities compared with the true labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from sentiment_conv1d.artifact.decision import THRESHOLD, decide_all
from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.artifact.manifest import LabelMetrics, Metrics, opposites_of

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]

#: Equal-width bins of the confidence, as in Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017).
CALIBRATION_BINS = 15

# A float32 output can be exactly 0 or 1. Keras clips at the same value, so this loss is comparable to that of Keras.
_SMALLEST_PROBABILITY = 1e-7

# The rows of a float32 softmax over many labels sum to 1 with this precision.
_SUM_TOLERANCE = 1e-4


class EvaluationError(SentimentError):
    """Outputs and labels that do not match, or outputs that are not probabilities."""


class ThresholdScores(NamedTuple):
    """The scores of a label against all others, if it is predicted at a threshold or above."""

    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    accuracy: float  # share of the examples that are correctly predicted to have or not to have the label


class Curve(NamedTuple):
    """A curve of one label against all others, over all thresholds."""

    label: str
    x: npt.NDArray[np.float64]  # [points]: the false positive rate, or the recall
    y: npt.NDArray[np.float64]  # [points]: the true positive rate, or the precision
    area: float  # the area under a ROC curve, or the average precision


class Calibration(NamedTuple):
    """The answers grouped by their confidence, which is the probability of the predicted label. Each [bins]."""

    edges: npt.NDArray[np.float64]  # [bins + 1]; a bin excludes its lower edge and includes its upper one
    counts: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]  # mean in the bin, 0 if it is empty
    accuracy: npt.NDArray[np.float64]  # share of correct answers in the bin, 0 if it is empty


def probabilities(logits: npt.NDArray[np.float32], *, sigmoids: bool = False) -> npt.NDArray[np.float32]:
    """Return the sigmoid of a single logit, and the softmax of several, or with `sigmoids` the sigmoid of each."""
    each = sigmoids or logits.shape[-1] == 1
    return np.asarray(expit(logits) if each else softmax(logits, axis=-1), np.float32)


def label_probabilities(output: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the output of the network, [n, 1] or [n, labels], with one column per label: float64 [n, labels].

    A single column p of a sigmoid is the probability of label 1 and becomes [1 - p, p].
    Raises `EvaluationError` on any other shape.
    """
    columns = np.asarray(output, np.float64)
    if columns.ndim != 2 or columns.shape[1] == 0:
        raise EvaluationError(f"answers must be [n, 1] or [n, labels], not {list(columns.shape)}")
    return np.hstack([1 - columns, columns]) if columns.shape[1] == 1 else columns


class Measures(ABC):
    """What was measured of a classifier on labelled examples, as a manifest or a file states it."""

    labels: npt.NDArray[np.int64]  # the truth: a row for each example

    @abstractmethod
    def measures(self) -> dict[str, float | None]:
        """Return the measures by name; None for those that are not defined."""

    @abstractmethod
    def per_label(self) -> tuple[LabelMetrics, ...]:
        """Return the scores of each label."""

    def values(self) -> dict[str, float]:
        """Return the measures that are defined, by name."""
        return {name: value for name, value in self.measures().items() if value is not None}

    def metrics(self, measured_on: str, others: Mapping[str, float] = MappingProxyType({})) -> Metrics:
        """Return the measures and `others` for a manifest or a file. `measured_on` describes the examples in words."""
        return Metrics(
            measured_on=measured_on,
            examples=len(self.labels),
            values={**self.values(), **others},
            per_label=self.per_label(),
        )


@dataclass(frozen=True, eq=False)
class Evaluation(Measures):
    """The outputs of a classifier on examples whose label is known.

    Raises `EvaluationError` if there is no example, if shapes or labels do not match, or if a row of the outputs does
    not hold probabilities.
    """

    label_names: tuple[str, ...]
    labels: npt.NDArray[np.int64]  # [n], the truth
    outputs: Floats  # [n, 1] of a sigmoid, or [n, labels] of a softmax
    threshold: float = THRESHOLD  # of a sigmoid

    def __post_init__(self) -> None:
        shape = (len(self.labels), len(self.label_names))
        if shape[0] < 1 or shape[1] < 2:
            raise EvaluationError(f"{shape[0]} examples and {shape[1]} labels: nothing to measure")
        if self.labels.ndim != 1 or self.probabilities.shape != shape:
            raise EvaluationError(f"probabilities must be {list(shape)}, not {list(self.probabilities.shape)}")
        if self.labels.min() < 0 or self.labels.max() >= shape[1]:
            raise EvaluationError(f"labels must be from 0 to {shape[1] - 1}")
        if not np.isfinite(self.probabilities).all():
            raise EvaluationError("the classifier answers with NaN or infinity: its training went astray")
        sums = self.probabilities.sum(axis=1, dtype=np.float64)
        if self.probabilities.min() < 0 or np.abs(sums - 1).max() > _SUM_TOLERANCE:
            raise EvaluationError("the classifier's answers are not probabilities that sum to 1")

    def part(self, chosen: npt.NDArray[np.bool_]) -> Evaluation:
        """Return the evaluation of the examples that `chosen` [n] selects."""
        return replace(self, labels=self.labels[chosen], outputs=self.outputs[chosen])

    @cached_property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """The probability of each label: [n, labels], rows sum to 1."""
        return label_probabilities(self.outputs)

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The predicted label of each example: [n]."""
        return decide_all(self.outputs, self.threshold)

    @cached_property
    def confusion(self) -> npt.NDArray[np.int64]:
        """The number of examples with each true label and each predicted label: [true, predicted]."""
        labels = len(self.label_names)
        pairs = np.bincount(self.labels * labels + self.predicted, minlength=labels * labels)
        return pairs.reshape(labels, labels).astype(np.int64)

    @cached_property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether each example is answered correctly: [n]."""
        return np.asarray(self.predicted == self.labels)

    @property
    def accuracy(self) -> float:
        """The share of correct answers."""
        return float(np.mean(self.right))

    @property
    def opinion_accuracy(self) -> float | None:
        """The share of correct answers among the examples labelled positive or negative, decided between these two.

        None if the labels are not those of `opposites_of`, or no example has one of the two.
        """
        if (opposites := opposites_of(self.label_names)) is None:
            return None
        positive, negative = map(self.label_names.index, opposites)
        is_positive = self.labels == positive
        has_opinion = is_positive | (self.labels == negative)
        said_positive = self.probabilities[:, positive] > self.probabilities[:, negative]
        return float(np.mean((said_positive == is_positive)[has_opinion])) if has_opinion.any() else None

    @cached_property
    def of_truth(self) -> npt.NDArray[np.float64]:
        """The probability of the true label of each example: [n]."""
        return np.take_along_axis(self.probabilities, self.labels[:, None], axis=1)[:, 0]

    @cached_property
    def confidence(self) -> npt.NDArray[np.float64]:
        """The probability of the predicted label of each example: [n]."""
        return np.take_along_axis(self.probabilities, self.predicted[:, None], axis=1)[:, 0]

    @property
    def losses(self) -> npt.NDArray[np.float64]:
        """The negative natural logarithm of the true label's probability: [n]."""
        return np.asarray(-np.log(np.clip(self.of_truth, _SMALLEST_PROBABILITY, 1), dtype=np.float64))

    @property
    def log_loss(self) -> float:
        """The mean of `losses`."""
        return float(np.mean(self.losses))

    @property
    def brier(self) -> float:
        """The mean squared error of the probability of label 1 if there are two labels, otherwise the sum over all."""
        errors = self.probabilities - np.eye(len(self.label_names))[self.labels]
        if len(self.label_names) == 2:
            errors = errors[:, 1:]
        return float(np.mean(np.sum(errors**2, axis=1)))

    @cached_property
    def roc_curves(self) -> tuple[Curve, ...]:
        """The ROC curve of label 1 if there are two labels, and otherwise one per label.

        A label has no curve if all examples have it, or none.
        """
        curves = []
        for name, truth, scores in self._one_against_the_rest():
            false, true, _ = roc_curve(truth, scores)
            curves.append(Curve(name, false, true, float(auc(false, true))))
        return tuple(curves)

    @cached_property
    def precision_recall_curves(self) -> tuple[Curve, ...]:
        """The precision-recall curves of the same labels as in `roc_curves`."""
        curves = []
        for name, truth, scores in self._one_against_the_rest():
            precision, recall, _ = precision_recall_curve(truth, scores)
            curves.append(Curve(name, recall, precision, float(average_precision_score(truth, scores))))
        return tuple(curves)

    @property
    def roc_auc(self) -> float | None:
        """The area under the curve of label 1 if there are two, and otherwise the unweighted mean over all labels.

        None if a label has no curve, because a mean over the others would not be comparable.
        """
        expected = 1 if len(self.label_names) == 2 else len(self.label_names)
        if len(self.roc_curves) < expected:
            return None
        return float(np.mean([curve.area for curve in self.roc_curves]))

    @cached_property
    def calibration(self) -> Calibration:
        """The answers in `CALIBRATION_BINS` bins by their confidence."""
        bins = np.clip(np.ceil(self.confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
        counts = np.bincount(bins, minlength=CALIBRATION_BINS)
        filled = np.maximum(counts, 1)
        return Calibration(
            edges=np.linspace(0, 1, CALIBRATION_BINS + 1),
            counts=counts.astype(np.int64),
            confidence=np.bincount(bins, self.confidence, CALIBRATION_BINS) / filled,
            accuracy=np.bincount(bins, self.right, CALIBRATION_BINS) / filled,
        )

    @property
    def expected_calibration_error(self) -> float:
        """The difference between confidence and accuracy in a bin, averaged over the examples."""
        bins = self.calibration
        return float(np.average(np.abs(bins.confidence - bins.accuracy), weights=bins.counts))

    @property
    def macro_f1(self) -> float:
        """The unweighted mean of F1 over the labels that are true or predicted for any example."""
        return float(np.mean([scores.f1 for scores in self.per_label() if scores.f1 is not None]))

    def per_label(self) -> tuple[LabelMetrics, ...]:
        """Return the scores of each label, in the order of the labels."""
        counts = self.confusion.tolist()
        answered = self.confusion.sum(axis=0).tolist()
        return tuple(
            LabelMetrics(
                label=name,
                **_scores(row[number], answered[number], sum(row)),
                support=sum(row),
                predicted={other: count for other, count in zip(self.label_names, row, strict=True) if count},
            )
            for number, (name, row) in enumerate(zip(self.label_names, counts, strict=True))
        )

    def most_frequent_mistakes(self) -> tuple[tuple[str, int] | None, ...]:
        """Return, for each true label, the wrong label that is predicted most often, and how often; None if none is."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        mistakes = zip(wrong.argmax(axis=1).tolist(), wrong.max(axis=1).tolist(), strict=True)
        return tuple((self.label_names[label], number) if number else None for label, number in mistakes)

    def thresholds(self) -> tuple[tuple[ThresholdScores, ...], ...]:
        """Return the scores of each label at the thresholds 0.1, 0.2, ..., 0.9.

        The second label of a sigmoid also has the scores at the threshold of the model.
        """
        tenths = {number / 10 for number in range(1, 10)}
        found = []
        for number in range(len(self.label_names)):
            own = {self.threshold} if number == 1 and self.outputs.shape[1] == 1 else set()
            found.append(tuple(self._at_threshold(number, threshold) for threshold in sorted(tenths | own)))
        return tuple(found)

    def _at_threshold(self, number: int, threshold: float) -> ThresholdScores:
        said, true = self.probabilities[:, number] >= threshold, self.labels == number
        scores = _scores(int(np.sum(said & true)), int(np.sum(said)), int(np.sum(true)))
        return ThresholdScores(threshold, **scores, accuracy=float(np.mean(said == true)))

    def _one_against_the_rest(self) -> Iterator[tuple[str, npt.NDArray[np.bool_], npt.NDArray[np.float64]]]:
        """Yield name, truth [n] and probabilities [n] of label 1 if there are two labels, and otherwise of each label.

        Labels that all examples have, or none, are left out.
        """
        for number in [1] if len(self.label_names) == 2 else range(len(self.label_names)):
            truth = self.labels == number
            if truth.any() and not truth.all():
                yield self.label_names[number], truth, self.probabilities[:, number]

    def worst_errors(self, number: int) -> list[int]:
        """Return the misclassified examples whose true label has the lowest probability, the worst first."""
        wrong = np.flatnonzero(~self.right)
        return [int(index) for index in wrong[np.argsort(self.of_truth[wrong], kind="stable")][:number]]

    def measures(self) -> dict[str, float | None]:
        """Return the measures by name. `opinion_accuracy` and `roc_auc` can be undefined."""
        return {
            "accuracy": self.accuracy,
            "opinion_accuracy": self.opinion_accuracy,
            "log_loss": self.log_loss,
            "brier": self.brier,
            "roc_auc": self.roc_auc,
            "expected_calibration_error": self.expected_calibration_error,
            "macro_f1": self.macro_f1,
        }


def _scores(hit: int, answered: int, support: int) -> dict[str, float | None]:
    """Return precision, recall and F1, given how often a label is predicted rightly, is predicted, and is true."""
    return {
        "precision": _share(hit, answered),
        "recall": _share(hit, support),
        "f1": _share(2 * hit, answered + support),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
