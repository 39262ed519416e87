"""Accuracy of the served graph on labelled texts.

Parity compares graphs on the same ids, so it cannot detect a vocabulary that gives words the wrong ids. Accuracy can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Self

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.export.checks.parity import Inputs
from sentiment_conv1d.export.checks.served import Served
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.model.evaluation.batches import Outputs
from sentiment_conv1d.model.evaluation.multilabel import Measured, MultilabelEvaluation, evaluated_at


@dataclass(frozen=True, eq=False)
class LabelledInputs(Inputs):
    """Inputs with their true labels."""

    labels: npt.NDArray[np.int64]  # [rows], indices into the label names; [rows, labels] of 0 and 1 for several
    texts: Sequence[str] = ()

    def where(self, kept: Sequence[bool]) -> Self:
        """Return the inputs for which `kept` is true, in their order, with their labels and texts."""
        labels, texts = self.labels[np.asarray(kept)], tuple(compress(self.texts, kept))
        return replace(super().where(kept), labels=labels, texts=texts)


def measure(served: Served, inputs: LabelledInputs, labels: tuple[str, ...]) -> Measured:
    """Measure a graph on labelled inputs."""
    return evaluated(served, inputs, labels, served.predict_rows(inputs.rows))


def evaluated(served: Served, inputs: LabelledInputs, labels: tuple[str, ...], outputs: Outputs) -> Measured:
    """Return the evaluation of outputs of a graph for labelled inputs."""
    return evaluated_at(labels, inputs.labels, outputs, served.threshold, served.thresholds)


def check_accuracy(measured: Measured, inputs: LabelledInputs) -> None:
    """Raise `ExportError` if the model is no better than always answering with the most frequent label.

    If a text can have several labels, the average precision of a guess is the share of the texts with the label. If all
    inputs have the same label, nothing is checked.
    """
    if isinstance(measured, MultilabelEvaluation):
        areas = [(curve.area, each.labels.mean()) for each in measured.each for curve in each.precision_recall_curves]
        precision, guessed = np.mean(areas, axis=0) if areas else (1.0, 0.0)
        if precision <= guessed:
            raise ExportError(
                f"the average precision of {precision:.3f} is no better than that of a guess, {guessed:.3f}, on "
                f"{inputs.source}: the vocabulary, the order of the labels or the model is wrong",
                "check --vocabulary, --index-from and --labels, or publish it with --allow-poor-accuracy",
            )
        return
    counts = np.unique(inputs.labels, return_counts=True)[1]
    majority, accuracy = counts.max() / counts.sum(), measured.accuracy
    if len(counts) > 1 and accuracy <= majority:
        raise ExportError(
            f"the accuracy of {accuracy:.3f} is no better than that of the most frequent label, {majority:.3f}, on "
            f"{inputs.source}: the vocabulary, the order of the labels or the model is wrong",
            "check --vocabulary, --index-from and --labels, or publish it with --allow-poor-accuracy",
        )
