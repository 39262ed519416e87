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
from sentiment_conv1d.model.evaluation.evaluation import Evaluation


@dataclass(frozen=True, eq=False)
class LabelledInputs(Inputs):
    """Inputs with their true labels."""

    labels: npt.NDArray[np.int64]  # [rows], indices into the label names
    texts: Sequence[str] = ()

    def where(self, kept: Sequence[bool]) -> Self:
        """Return the inputs for which `kept` is true, in their order, with their labels and texts."""
        labels, texts = self.labels[np.asarray(kept)], tuple(compress(self.texts, kept))
        return replace(super().where(kept), labels=labels, texts=texts)


def measure(served: Served, inputs: LabelledInputs, labels: tuple[str, ...]) -> Evaluation:
    """Measure a graph on labelled inputs."""
    return Evaluation(labels, inputs.labels, served.predict_rows(inputs.rows), served.threshold)


def check_accuracy(measured: Evaluation, inputs: LabelledInputs) -> None:
    """Raise `ExportError` if the model is no better than always answering with the most frequent label.

    If all inputs have the same label, nothing is checked.
    """
    counts = np.unique(inputs.labels, return_counts=True)[1]
    majority, accuracy = counts.max() / counts.sum(), measured.accuracy
    if len(counts) > 1 and accuracy <= majority:
        raise ExportError(
            f"the accuracy of {accuracy:.3f} is no better than that of the most frequent label, {majority:.3f}, on "
            f"{inputs.source}: the vocabulary, the order of the labels or the model is wrong",
            "check --vocabulary, --index-from and --labels, or publish it with --allow-poor-accuracy",
        )
