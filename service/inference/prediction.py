"""The answer for one text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Prediction(NamedTuple):
    """The answer for one text."""

    label: str
    score: np.float32  # probability of `label`
    probabilities: tuple[np.float32, ...]  # one a label, in the order of the model's labels
    tokens: int  # ids before truncation, the start id included
    unknown_tokens: int
    truncated: bool
