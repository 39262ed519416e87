"""The answer for one text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.decision import THRESHOLD, decide
from sentiment_conv1d.model.tokenizer import Encoding


class Prediction(NamedTuple):
    """The answer for one text."""

    label: str
    score: np.float32  # probability of `label`
    probabilities: tuple[np.float32, ...]  # one per label, in the order of the model's labels
    tokens: int  # ids before truncation, including the start id
    unknown_tokens: int
    truncated: bool

    @classmethod
    def of(
        cls, labels: Sequence[str], encoding: Encoding, output: npt.NDArray[np.float32], threshold: float = THRESHOLD
    ) -> Self:
        """Return the prediction of a model with these labels for a text.

        `output` is the output of the model: float32 [1], the probability of the second label (sigmoid), or float32
        [labels], the probability of each label (softmax). A sigmoid decides for the second label from `threshold` on.
        """
        probabilities = tuple(output) if len(output) > 1 else (1 - output[0], output[0])
        index = decide(output, threshold)
        return cls(
            labels[index],
            probabilities[index],
            probabilities,
            encoding.tokens,
            encoding.unknown_tokens,
            encoding.tokens > len(encoding.ids),
        )
