"""The quantization error: how far the answers of an 8-bit graph are from float32, and what that costs in accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.export.checks.parity import Reviews
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.model.decision import decide_all
from sentiment_conv1d.model.evaluation.batches import Answers, Ids, Predict, answers_in_batches
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.input_shape import InputShape
from sentiment_conv1d.model.manifest import Metrics, QuantizationCheck

#: The largest accepted loss of accuracy compared with the float32 graph.
MAX_ACCURACY_LOSS = 0.001

#: The largest accepted change of a probability on generated ids. With the preset it is 0.03; a wrong graph exceeds this
#: limit by far.
MAX_DIFFERENCE = 0.1


class QuantizationError(ExportError):
    """The 8-bit graph is too far from the float32 graph; no artifact is written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "export without --quantize")


@dataclass(frozen=True, eq=False)
class LabelledReviews(Reviews):
    """Reviews with their true labels."""

    labels: npt.NDArray[np.int64]  # [rows], indices into the label names
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Graphs:
    """A float32 graph, the 8-bit graph that was quantized from it, and the input shape and threshold of both."""

    float32: Predict
    quantized: Predict
    shape: InputShape
    threshold: float

    def answers(self, rows: list[Ids]) -> tuple[Answers, Answers]:
        """Run both graphs, in batches of reviews of similar length."""
        return answers_in_batches(self.float32, rows, self.shape), answers_in_batches(self.quantized, rows, self.shape)


def measure_difference(graphs: Graphs, reviews: Reviews) -> QuantizationCheck:
    """Compare the graphs on reviews without labels.

    Raises `QuantizationError` if a probability changes by more than `MAX_DIFFERENCE`.
    """
    check = _check(graphs, reviews, *graphs.answers(reviews.rows))
    if check.largest_difference > MAX_DIFFERENCE:
        raise QuantizationError(
            f"{reviews.source}: quantization changes a probability by {check.largest_difference:.3f}, "
            f"more than {MAX_DIFFERENCE}"
        )
    return check


def measure_accuracy(
    graphs: Graphs, reviews: LabelledReviews, label_names: tuple[str, ...]
) -> tuple[QuantizationCheck, Metrics]:
    """Compare the graphs on labelled reviews, and measure the 8-bit graph.

    Raises `QuantizationError` if its accuracy is below that of the float32 graph by more than `MAX_ACCURACY_LOSS`.
    """
    answers = graphs.answers(reviews.rows)
    float32, quantized = (Evaluation(label_names, reviews.labels, each, graphs.threshold) for each in answers)
    check = _check(graphs, reviews, *answers, accuracy=quantized.accuracy, float32_accuracy=float32.accuracy)
    lost = int(float32.right.sum()) - int(quantized.right.sum())
    if lost > MAX_ACCURACY_LOSS * len(reviews.rows):
        raise QuantizationError(
            f"{reviews.source}: the accuracy is {quantized.accuracy:.4f} with 8 bits and {float32.accuracy:.4f} in "
            f"float32; the loss must not exceed {MAX_ACCURACY_LOSS}"
        )
    return check, quantized.metrics(reviews.source)


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
        raise QuantizationError(f"{reviews.source}: the 8-bit graph returns NaN or infinity")
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
