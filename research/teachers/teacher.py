"""The teacher of a distillation: logistic regression on word n-grams that are weighted as in naive Bayes.

The source is Wang and Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification" (ACL 2012). The
n-grams have one to three words. The teacher learns from one review at a time, and accepts probabilities as targets. The
n-grams are hashed, so no vocabulary of n-grams is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from research.teachers.ngrams import ngrams
from sentiment_conv1d.model.training.table_network import adagrad

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

#: The buckets of the hashes, as a power of two.
_BUCKET_BITS = 22

_LEARNING_RATE = 0.02
_DROPOUT = 0.5
_EPSILON = 1e-6

#: N-grams that occur in fewer reviews are ignored.
_LEAST_COUNT = 2


class Teacher:
    """Computes the log-odds of label 1 from the set of n-grams of a review."""

    def __init__(self) -> None:
        buckets = 1 << _BUCKET_BITS
        self.ratios = np.zeros(buckets, np.float32)  # naive Bayes' log-odds of each n-gram
        self.weights = np.zeros(buckets, np.float32)
        self.bias = np.float32(0)
        # Adagrad's sums of squared gradients.
        self._squares = np.zeros(buckets, np.float32)
        self._bias_squares = np.float32(0)

    def fit(
        self, reviews: Sequence[Ids], targets: Floats, epochs: int, generator: np.random.Generator
    ) -> Iterator[int]:
        """Learn the probabilities of label 1, `targets` float32 [reviews]. Yields the number of each finished epoch."""
        features = [self._features(review) for review in reviews]
        self.ratios = self._log_ratios(features, targets)
        for epoch in range(epochs):
            for index in generator.permutation(len(features)):
                kept = features[index][generator.random(len(features[index]), np.float32) >= _DROPOUT]
                self._learn(kept, targets[index])
            yield epoch

    def predict(self, reviews: Sequence[Ids]) -> Floats:
        """Return the log-odds of label 1: float32 [reviews]."""
        return np.array([self._logit(self._features(review)) for review in reviews], np.float32)

    def state(self) -> dict[str, Floats]:
        """Return the arrays that `predict` needs, by name."""
        return {"ratios": self.ratios, "weights": self.weights, "bias": np.array(self.bias, np.float32)}

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Use the arrays of `state`."""
        self.ratios, self.weights, self.bias = state["ratios"], state["weights"], np.float32(state["bias"])

    def _logit(self, features: npt.NDArray[np.int64]) -> Any:
        return self.weights[features] @ self.ratios[features] + self.bias

    def _learn(self, features: npt.NDArray[np.int64], target: np.float32) -> None:
        inputs = self.ratios[features] / np.float32(1 - _DROPOUT)
        error = expit(self.weights[features] @ inputs + self.bias) - target
        gradient = error * inputs
        adagrad(self.weights, self._squares, features, gradient, _LEARNING_RATE, _EPSILON)
        self._bias_squares += error * error
        self.bias -= np.float32(_LEARNING_RATE * error / (np.sqrt(self._bias_squares) + _EPSILON))

    def _features(self, ids: Ids) -> npt.NDArray[np.int64]:
        """Return the hash buckets of the n-grams of a review, without repetitions."""
        return np.unique(ngrams(ids) >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)

    def _log_ratios(self, features: Sequence[npt.NDArray[np.int64]], targets: Floats) -> Floats:
        """Return the log ratio of each n-gram's frequencies in reviews of label 1 and label 0; 0 for rare n-grams."""
        positive = np.ones(1 << _BUCKET_BITS)  # counts start at 1, so that no logarithm is infinite
        negative = np.ones(1 << _BUCKET_BITS)
        for review, target in zip(features, targets.tolist(), strict=True):
            positive[review] += target
            negative[review] += 1 - target
        ratios = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
        ratios[positive + negative < 2 + _LEAST_COUNT - 1e-3] = (
            0  # 1e-3: soft targets do not sum to whole numbers exactly
        )
        rounded: Floats = ratios.astype(np.float32)
        return rounded
