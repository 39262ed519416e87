"""Run a graph on the ids of many texts, in batches of texts of similar length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.input_shape import InputShape

#: The largest number of rows that the service runs together on a CPU.
_BATCH_ROWS = 32

Ids = npt.NDArray[np.int32]
Outputs = npt.NDArray[np.float32]
Predict = Callable[[Ids], Outputs]


def predict_in_batches(served: Predict, rows: Sequence[Ids], shape: InputShape) -> Outputs:
    """Run a graph on batches of texts of similar length, each padded as little as its longest text allows.

    The service also groups texts by length. On a CPU it runs at most 1,024 positions at once, see
    `inference.length_buckets`; here a batch always has `_BATCH_ROWS` rows.
    """
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    answers: dict[int, Outputs] = {}
    for start in range(0, len(order), _BATCH_ROWS):
        batch = order[start : start + _BATCH_ROWS]
        answers.update(zip(batch, served(shape.pad([rows[number] for number in batch])), strict=True))
    return np.stack([answers[number] for number in range(len(rows))])
