"""The quantization error: how far the answers of an 8-bit graph are from float32, and what that costs in accuracy."""

from __future__ import annotations

import numpy as np

from sentiment_conv1d.artifact.manifest import Metrics, QuantizationCheck
from sentiment_conv1d.export.checks.accuracy import LabelledReviews
from sentiment_conv1d.export.checks.parity import Reviews
from sentiment_conv1d.export.checks.served import Served
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.model.evaluation.batches import Answers
from sentiment_conv1d.model.evaluation.evaluation import Evaluation

#: The largest accepted loss of accuracy compared with the float32 graph.
MAX_ACCURACY_LOSS = 0.001

#: The largest accepted change of a probability on generated ids. With the preset it is 0.03; a wrong graph exceeds this
#: limit by far.
MAX_DIFFERENCE = 0.1


class QuantizationError(ExportError):
    """The 8-bit graph is too far from the float32 graph; no artifact is written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "export without --quantize")


def measure_difference(float32: Served, quantized: Served, reviews: Reviews) -> QuantizationCheck:
    """Compare a float32 graph, and the 8-bit graph that was quantized from it, on reviews without labels.

    Raises `QuantizationError` if a probability changes by more than `MAX_DIFFERENCE`.
    """
    check = _check(float32, reviews, float32.answers(reviews.rows), quantized.answers(reviews.rows))
    if check.largest_difference > MAX_DIFFERENCE:
        raise QuantizationError(
            f"{reviews.source}: quantization changes a probability by {check.largest_difference:.3f}, "
            f"more than {MAX_DIFFERENCE}"
        )
    return check


def measure_accuracy(
    float32: Served, quantized: Served, reviews: LabelledReviews, label_names: tuple[str, ...]
) -> tuple[QuantizationCheck, Metrics]:
    """Compare the graphs on labelled reviews, and measure the 8-bit graph.

    Raises `QuantizationError` if its accuracy is below that of the float32 graph by more than `MAX_ACCURACY_LOSS`.
    """
    answers = float32.answers(reviews.rows), quantized.answers(reviews.rows)
    before, after = (Evaluation(label_names, reviews.labels, each, float32.threshold) for each in answers)
    check = _check(float32, reviews, *answers, accuracy=after.accuracy, float32_accuracy=before.accuracy)
    lost = int(before.right.sum()) - int(after.right.sum())
    if lost > MAX_ACCURACY_LOSS * len(reviews.rows):
        raise QuantizationError(
            f"{reviews.source}: the accuracy is {after.accuracy:.4f} with 8 bits and {before.accuracy:.4f} in "
            f"float32; the loss must not exceed {MAX_ACCURACY_LOSS}"
        )
    return check, after.metrics(reviews.source)


def _check(
    served: Served,
    reviews: Reviews,
    float32: Answers,
    quantized: Answers,
    accuracy: float | None = None,
    float32_accuracy: float | None = None,
) -> QuantizationCheck:
    difference = np.abs(float32.astype(np.float64) - quantized)
    if not np.isfinite(difference).all():
        raise QuantizationError(f"{reviews.source}: the 8-bit graph returns NaN or infinity")
    return QuantizationCheck(
        inputs=reviews.source,
        examples=len(reviews.rows),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        changed_labels=int(served.changed(float32, quantized).sum()),
        accuracy=accuracy,
        float32_accuracy=float32_accuracy,
    )
