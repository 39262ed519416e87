"""A graph as the service runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.decision import decide_all, decide_each
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import Tokenizer
from sentiment_conv1d.model.evaluation.batches import Ids, Outputs, Predict, predict_in_batches


@dataclass(frozen=True)
class Served:
    """A graph with its input shape and the threshold by which it decides, or one for each label."""

    predict: Predict
    shape: InputShape
    threshold: float
    thresholds: Sequence[float] = ()

    def predict_rows(self, rows: Sequence[Ids]) -> Outputs:
        """Return the probabilities float32 [rows, outputs], computed in batches of rows of similar length."""
        return predict_in_batches(self.predict, rows, self.shape)

    def read(self, texts: Sequence[str], tokenizer: Tokenizer) -> Outputs:
        """Return the probabilities float32 [texts, outputs] of texts."""
        return self.predict_rows([encoding.ids for encoding in tokenizer.encode_batch(texts)])

    def changed(self, truth: Outputs, answers: Outputs) -> npt.NDArray[np.bool_]:
        """Return whether the labels of two outputs differ: bool [rows]."""
        if self.thresholds:
            changed = decide_each(truth, self.thresholds) != decide_each(answers, self.thresholds)
            return np.asarray(changed.any(axis=1))
        return np.asarray(decide_all(truth, self.threshold) != decide_all(answers, self.threshold))
