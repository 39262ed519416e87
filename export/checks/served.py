"""The answers to texts that the service gives with a tokenizer and a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentiment_conv1d.model.evaluation.batches import Answers, Predict, answers_in_batches
from sentiment_conv1d.model.input_shape import InputShape
from sentiment_conv1d.model.tokenizer import Tokenizer


@dataclass(frozen=True)
class Served:
    """A graph with its tokenizer, its input shape and the threshold by which it decides."""

    tokenizer: Tokenizer
    predict: Predict
    shape: InputShape
    threshold: float

    def answers(self, texts: Sequence[str]) -> Answers:
        """Return the probabilities float32 [texts, outputs]."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        return answers_in_batches(self.predict, rows, self.shape)
