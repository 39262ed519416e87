"""The quantization error: how far the answers of an 8-bit graph are from float32, and what that costs in accuracy."""

from __future__ import annotations

import numpy as np

from sentiment_conv1d.artifact.manifest import QuantizationCheck
from sentiment_conv1d.export.checks.accuracy import LabelledInputs, evaluated
from sentiment_conv1d.export.checks.parity import Inputs
from sentiment_conv1d.export.checks.served import Served
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.model.evaluation.batches import Outputs
from sentiment_conv1d.model.evaluation.multilabel import Measured

#: The largest accepted loss of accuracy compared with the float32 graph.
MAX_ACCURACY_LOSS = 0.001

#: The largest accepted change of a probability on generated ids. With the preset it is 0.03; a wrong graph exceeds this
#: limit by far.
MAX_DIFFERENCE = 0.1


class QuantizationError(ExportError):
    """The 8-bit graph is too far from the float32 graph; no artifact is written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "export without --quantize")


def measure_difference(float32: Served, quantized: Served, inputs: Inputs) -> QuantizationCheck:
    """Compare a float32 graph, and the 8-bit graph that was quantized from it, on inputs without labels.

    Raises `QuantizationError` if a probability changes by more than `MAX_DIFFERENCE`.
    """
    check = _check(float32, inputs, float32.predict_rows(inputs.rows), quantized.predict_rows(inputs.rows))
    if check.largest_difference > MAX_DIFFERENCE:
        raise QuantizationError(
            f"{inputs.source}: quantization changes a probability by {check.largest_difference:.3f}, "
            f"more than {MAX_DIFFERENCE}"
        )
    return check


def measure_accuracy(
    float32: Served, quantized: Served, inputs: LabelledInputs, label_names: tuple[str, ...]
) -> tuple[QuantizationCheck, Measured]:
    """Compare the graphs on labelled inputs, and measure the 8-bit graph.

    Raises `QuantizationError` if its accuracy is below that of the float32 graph by more than `MAX_ACCURACY_LOSS`.
    """
    answers = float32.predict_rows(inputs.rows), quantized.predict_rows(inputs.rows)
    before, after = (evaluated(float32, inputs, label_names, each) for each in answers)
    check = _check(float32, inputs, *answers, accuracy=after.accuracy, float32_accuracy=before.accuracy)
    lost = int(before.right.sum()) - int(after.right.sum())
    if lost > MAX_ACCURACY_LOSS * len(inputs.rows):
        raise QuantizationError(
            f"{inputs.source}: the accuracy is {after.accuracy:.4f} with 8 bits and {before.accuracy:.4f} in "
            f"float32; the loss must not exceed {MAX_ACCURACY_LOSS}"
        )
    return check, after


def _check(
    served: Served,
    inputs: Inputs,
    float32: Outputs,
    quantized: Outputs,
    accuracy: float | None = None,
    float32_accuracy: float | None = None,
) -> QuantizationCheck:
    difference = np.abs(float32.astype(np.float64) - quantized)
    if not np.isfinite(difference).all():
        raise QuantizationError(f"{inputs.source}: the 8-bit graph returns NaN or infinity")
    return QuantizationCheck(
        inputs=inputs.source,
        examples=len(inputs.rows),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        changed_labels=int(served.changed(float32, quantized).sum()),
        accuracy=accuracy,
        float32_accuracy=float32_accuracy,
    )
