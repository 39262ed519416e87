"""A graph as the service runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.decision import decide_all
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import Tokenizer
from sentiment_conv1d.model.evaluation.batches import Answers, Ids, Predict, answers_in_batches


@dataclass(frozen=True)
class Served:
    """A graph with its input shape and the threshold by which it decides."""

    predict: Predict
    shape: InputShape
    threshold: float

    def answers(self, rows: Sequence[Ids]) -> Answers:
        """Return the probabilities float32 [rows, outputs], computed in batches of rows of similar length."""
        return answers_in_batches(self.predict, rows, self.shape)

    def read(self, texts: Sequence[str], tokenizer: Tokenizer) -> Answers:
        """Return the probabilities float32 [texts, outputs] of texts."""
        return self.answers([encoding.ids for encoding in tokenizer.encode_batch(texts)])

    def changed(self, truth: Answers, answers: Answers) -> npt.NDArray[np.bool_]:
        """Return whether the labels of two outputs differ: bool [rows]."""
        return np.asarray(decide_all(truth, self.threshold) != decide_all(answers, self.threshold))
