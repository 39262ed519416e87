"""The quality of a classifier that gives a text several labels: a binary evaluation for each label, and their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.decision import THRESHOLD, DecisionRule, decide_each
from sentiment_conv1d.artifact.manifest import LabelMetrics
from sentiment_conv1d.model.evaluation.evaluation import Curve, Evaluation, EvaluationError, Floats, Measures


@dataclass(frozen=True, eq=False)
class MultilabelEvaluation(Measures):
    """The outputs of a classifier on examples whose labels are known.

    Raises `EvaluationError` as `Evaluation` does.
    """

    label_names: tuple[str, ...]
    labels: npt.NDArray[np.int64]  # [n, labels], 1 if an example has the label
    outputs: Floats  # [n, labels]
    limits: Sequence[float]  # [labels], the thresholds

    def __post_init__(self) -> None:
        shape = (len(self.labels), len(self.label_names))
        if self.labels.shape != shape or self.outputs.shape != shape:
            raise EvaluationError(f"labels and answers must be {list(shape)}, not {list(self.outputs.shape)}")
        _ = self.each

    @cached_property
    def each(self) -> tuple[Evaluation, ...]:
        """The evaluation of each label against all texts without it."""
        return tuple(
            Evaluation((f"not {name}", name), self.labels[:, number], self.outputs[:, number : number + 1], limit)
            for number, (name, limit) in enumerate(zip(self.label_names, self.limits, strict=True))
        )

    @cached_property
    def predicted(self) -> npt.NDArray[np.bool_]:
        """Whether each label is predicted for each example: [n, labels]."""
        return decide_each(self.outputs, self.limits)

    @cached_property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether an example gets exactly its labels: [n]."""
        return np.asarray((self.predicted == (self.labels == 1)).all(axis=1))

    @property
    def accuracy(self) -> float:
        """The share of the examples that get exactly their labels."""
        return float(np.mean(self.right))

    @property
    def micro_f1(self) -> float | None:
        """F1 over all labels together: of all pairs of an example and a label. None without any such pair."""
        pairs = int(self.predicted.sum() + self.labels.sum())
        return float(2 * np.sum(self.predicted & (self.labels == 1)) / pairs) if pairs else None

    @property
    def macro_f1(self) -> float | None:
        """The unweighted mean of F1 over the labels that any example has or gets; None if there are none."""
        return _mean([each.f1 for each in self.per_label()])

    @property
    def roc_curves(self) -> tuple[Curve, ...]:
        """The ROC curve of each label that some examples have, and some have not."""
        return tuple(curve for each in self.each for curve in each.roc_curves)

    @property
    def precision_recall_curves(self) -> tuple[Curve, ...]:
        """The precision-recall curves of the same labels as in `roc_curves`."""
        return tuple(curve for each in self.each for curve in each.precision_recall_curves)

    @property
    def average_precision(self) -> float | None:
        """The unweighted mean of the average precision over the labels that some examples have, and some have not."""
        return _mean([curve.area for curve in self.precision_recall_curves])

    @property
    def roc_auc(self) -> float | None:
        """The unweighted mean of the areas under the ROC curves; None if a label has no curve."""
        areas = [each.roc_auc for each in self.each]
        return None if None in areas else _mean(areas)

    @property
    def log_loss(self) -> float:
        """The mean binary cross-entropy over all labels."""
        return float(np.mean([each.log_loss for each in self.each]))

    def per_label(self) -> tuple[LabelMetrics, ...]:
        """Return the scores of each label, and how often each label is predicted for the examples that have it."""
        return tuple(
            each.per_label()[1].model_copy(update={"predicted": self._predicted(number)})
            for number, each in enumerate(self.each)
        )

    def _predicted(self, number: int) -> dict[str, int]:
        counts = self.predicted[self.labels[:, number] == 1].sum(axis=0).tolist()
        return {name: count for name, count in zip(self.label_names, counts, strict=True) if count}

    def measures(self) -> dict[str, float | None]:
        """Return the measures by name; None for those that are not defined."""
        return {
            "accuracy": self.accuracy,
            "micro_f1": self.micro_f1,
            "macro_f1": self.macro_f1,
            "average_precision": self.average_precision,
            "roc_auc": self.roc_auc,
            "log_loss": self.log_loss,
        }


#: The evaluation of a model, whether a text has one label or several.
Measured = Evaluation | MultilabelEvaluation


def evaluated(
    label_names: tuple[str, ...], labels: npt.NDArray[np.int64], outputs: Floats, decision: DecisionRule
) -> Measured:
    """Return the evaluation of outputs by the rule of their model."""
    return evaluated_at(label_names, labels, outputs, decision.threshold, decision.each_threshold(label_names))


def evaluated_at(
    label_names: tuple[str, ...],
    labels: npt.NDArray[np.int64],
    outputs: Floats,
    threshold: float,
    thresholds: Sequence[float],
) -> Measured:
    """Return the evaluation of outputs with a threshold, or with one for each label if there are `thresholds`."""
    if thresholds:
        return MultilabelEvaluation(label_names, labels, outputs, thresholds)
    return Evaluation(label_names, labels, outputs, threshold)


def of_one_label(measured: Measured) -> Evaluation:
    """Return the evaluation of a model that gives a text one label. Raises `EvaluationError` for any other."""
    if isinstance(measured, MultilabelEvaluation):
        raise EvaluationError("the model gives a text several labels")
    return measured


def best_thresholds(label_names: Sequence[str], labels: npt.NDArray[np.int64], outputs: Floats) -> dict[str, float]:
    """Return for each label the threshold with the highest F1 of this label.

    `labels` and `outputs` are [n, labels]. A threshold lies between two outputs or below all of them, or is 0.5. Of
    equally good ones, the one closest to 0.5 is returned, and 0.5 if no example has the label.
    """
    return {
        name: _best_threshold(outputs[:, number].astype(np.float64), labels[:, number])
        for number, name in enumerate(label_names)
    }


def _best_threshold(outputs: npt.NDArray[np.float64], has_label: npt.NDArray[np.int64]) -> float:
    if not has_label.any():
        return THRESHOLD
    order = np.argsort(outputs)
    values, labels = outputs[order], has_label[order]
    starts = np.flatnonzero(np.diff(values)) + 1  # where a larger output begins
    candidates = np.append((values[starts] + values[starts - 1]) / 2, THRESHOLD)
    places = np.append(starts, np.searchsorted(values, THRESHOLD))
    if values[0] > 0:
        candidates, places = np.append(candidates, values[0] / 2), np.append(places, 0)
    found = np.append(np.cumsum(labels[::-1])[::-1], 0)[places]  # examples with the label at or above a candidate
    scores = 2 * found / (len(values) - places + labels.sum())
    best = candidates[scores >= scores.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - THRESHOLD))])


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
