"""The quantization error: how far 8 bits move the answers, and how many of them stay right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.export.checks.parity import Answers, Ids, Predict, Reviews, answers_in_batches
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.model.artifact import Metrics, QuantizationCheck
from sentiment_conv1d.model.decision import THRESHOLD, decide_all
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.input_shape import InputShape

#: How much less accurate than the float32 graph an 8-bit graph may be.
MAX_ACCURACY_LOSS = 0.001

#: How far a probability may move on generated ids. The preset's move by 0.03 at most; a graph at fault by far more.
MAX_DIFFERENCE = 0.1


class QuantizationError(ExportError):
    """The 8-bit graph is too far from the float32 graph; no artifact is written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "export without --quantize")


@dataclass(frozen=True, eq=False)
class LabelledReviews(Reviews):
    """Reviews whose labels are known."""

    labels: npt.NDArray[np.int64]  # [rows], indices into the label names
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Graphs:
    """A float32 graph, the 8-bit graph that was quantized from it, the ids that both read, and how both decide."""

    float32: Predict
    quantized: Predict
    shape: InputShape
    threshold: float = THRESHOLD

    def answers(self, rows: list[Ids]) -> tuple[Answers, Answers]:
        """The answers of both graphs, in batches of reviews of similar length."""
        return answers_in_batches(self.float32, rows, self.shape), answers_in_batches(self.quantized, rows, self.shape)


def measure_difference(graphs: Graphs, reviews: Reviews) -> QuantizationCheck:
    """Compare the graphs on reviews without labels.

    Raises `QuantizationError` if a probability moves by more than `MAX_DIFFERENCE`.
    """
    check = _check(graphs, reviews, *graphs.answers(reviews.rows))
    if check.largest_difference > MAX_DIFFERENCE:
        raise QuantizationError(
            f"{reviews.source}: 8 bits move a probability by {check.largest_difference:.3f}, more than {MAX_DIFFERENCE}"
        )
    return check


def measure_accuracy(
    graphs: Graphs, reviews: LabelledReviews, label_names: tuple[str, ...]
) -> tuple[QuantizationCheck, Metrics]:
    """Compare the graphs on reviews with labels, and measure the 8-bit graph.

    Raises `QuantizationError` if its accuracy is below that of the float32 graph by more than `MAX_ACCURACY_LOSS`.
    """
    answers = graphs.answers(reviews.rows)
    float32, quantized = (Evaluation(label_names, reviews.labels, each, graphs.threshold) for each in answers)
    check = _check(graphs, reviews, *answers, accuracy=quantized.accuracy, float32_accuracy=float32.accuracy)
    lost = int(np.sum(float32.predicted == reviews.labels)) - int(np.sum(quantized.predicted == reviews.labels))
    if lost > MAX_ACCURACY_LOSS * len(reviews.rows):
        raise QuantizationError(
            f"{reviews.source}: accuracy {quantized.accuracy:.4f} in 8 bits, {float32.accuracy:.4f} in float32, "
            f"which is a loss of more than {MAX_ACCURACY_LOSS}"
        )
    return check, Metrics(measured_on=reviews.source, examples=len(reviews.rows), values=quantized.values())


def _check(
    graphs: Graphs,
    reviews: Reviews,
    float32: Answers,
    quantized: Answers,
    accuracy: float | None = None,
    float32_accuracy: float | None = None,
) -> QuantizationCheck:
    difference = np.abs(float32.astype(np.float64) - quantized)
    if not np.isfinite(difference).all():
        raise QuantizationError(f"{reviews.source}: the 8-bit graph answers with NaN or infinity")
    changed = decide_all(float32, graphs.threshold) != decide_all(quantized, graphs.threshold)
    return QuantizationCheck(
        inputs=reviews.source,
        examples=len(reviews.rows),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        changed_labels=int(changed.sum()),
        accuracy=accuracy,
        float32_accuracy=float32_accuracy,
    )
