"""Names the label that a model decides for, and gives every label its probability."""

from __future__ import annotations

import numpy as np

from sentiment_conv1d.model.graphs.text.writer import DOUBLE, INT64, Writer
from sentiment_conv1d.model.manifest import Manifest

_COLUMNS = np.array([1])


def write_answer(writer: Writer, output: str, manifest: Manifest) -> tuple[str, str]:
    """Return the names of the labels string [batch] and of the probabilities float32 [batch, labels].

    `output` is that of the model, float32 [batch, 1] for a sigmoid or [batch, labels] for a softmax.
    """
    labels = writer.strings(manifest.labels, [len(manifest.labels)], "labels")
    if manifest.activation == "softmax":
        index = writer.node("ArgMax", [output], "index", axis=1, keepdims=0)
        return writer.node("Gather", [labels, index], "label"), output
    other = writer.node("Sub", [np.float32(1), output], "other")
    probabilities = writer.node("Concat", [other, output], "probabilities", axis=1)
    # `model.decision` compares float64 numbers.
    second = writer.node("Cast", [output], "exact", to=DOUBLE)
    second = writer.node("Squeeze", [second, _COLUMNS], "second")
    second = writer.node("GreaterOrEqual", [second, np.float64(manifest.decision.threshold)], "decides")
    second = writer.node("Cast", [second], "index", to=INT64)
    return writer.node("Gather", [labels, second], "label"), probabilities
