"""From the output of a model to the label that it decides for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: The output of a sigmoid from which on it decides for the second label.
THRESHOLD = 0.5


def decide(output: npt.NDArray[np.floating[Any]]) -> int:
    """The number of the label that one row of the output decides for.

    `output` is [1], the probability of the second label (sigmoid), or [labels], the probability of each (softmax). Of
    several labels with the same probability it is the first.
    """
    # A float of Python is compared in a third of the time that a NumPy scalar takes.
    if len(output) == 1:
        return 1 if output.item() >= THRESHOLD else 0
    return int(output.argmax())


def decide_all(outputs: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    """The label of every row of [n, 1] or [n, labels]: int64 [n]."""
    return np.fromiter(map(decide, outputs), np.int64, len(outputs))
