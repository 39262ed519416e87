"""The teacher of a distillation: logistic regression on word n-grams, weighted as naive Bayes would.

Wang and Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification" (ACL 2012), with n-grams of
one to three words. It learns from one review after the other, also from probabilities instead of labels. The n-grams
are hashed, so no vocabulary of n-grams is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from sentiment_conv1d.model.training.ngrams import ngrams

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

_BUCKET_BITS = 22

_LEARNING_RATE = 0.02
_DROPOUT = 0.5
_EPSILON = 1e-6

#: An n-gram of fewer reviews says nothing.
_LEAST_COUNT = 2


class Teacher:
    """Log-odds of label 1 from the set of a review's n-grams."""

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
        """Learn the probabilities of label 1, `targets` [reviews]; yields the number of every finished epoch."""
        features = [_features(review) for review in reviews]
        self.ratios = _log_ratios(features, targets)
        for epoch in range(epochs):
            for index in generator.permutation(len(features)):
                kept = features[index][generator.random(len(features[index]), np.float32) >= _DROPOUT]
                self._learn(kept, targets[index])
            yield epoch

    def predict(self, reviews: Sequence[Ids]) -> Floats:
        """The log-odds of label 1: [reviews]."""
        return np.array([self._logit(_features(review)) for review in reviews], np.float32)

    def state(self) -> dict[str, Floats]:
        """The arrays that `predict` needs, by name."""
        return {"ratios": self.ratios, "weights": self.weights, "bias": np.array(self.bias, np.float32)}

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Take over the arrays of `state`."""
        self.ratios, self.weights, self.bias = state["ratios"], state["weights"], np.float32(state["bias"])

    def _logit(self, features: npt.NDArray[np.int64]) -> Any:
        return self.weights[features] @ self.ratios[features] + self.bias

    def _learn(self, features: npt.NDArray[np.int64], target: np.float32) -> None:
        inputs = self.ratios[features] / np.float32(1 - _DROPOUT)
        error = expit(self.weights[features] @ inputs + self.bias) - target
        gradient = error * inputs
        squares = self._squares[features] + gradient * gradient
        self._squares[features] = squares
        self.weights[features] -= _LEARNING_RATE * gradient / (np.sqrt(squares) + _EPSILON)
        self._bias_squares += error * error
        self.bias -= np.float32(_LEARNING_RATE * error / (np.sqrt(self._bias_squares) + _EPSILON))


def _features(ids: Ids) -> npt.NDArray[np.int64]:
    """The buckets of a review's n-grams, each once."""
    return np.unique(ngrams(ids) >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)


def _log_ratios(features: Sequence[npt.NDArray[np.int64]], targets: Floats) -> Floats:
    """How much likelier each n-gram is in a review of label 1, as a logarithm; 0 for rare ones."""
    positive = np.ones(1 << _BUCKET_BITS)  # one review of each label has every n-gram, so no logarithm is infinite
    negative = np.ones(1 << _BUCKET_BITS)
    for review, target in zip(features, targets.tolist(), strict=True):
        positive[review] += target
        negative[review] += 1 - target
    ratios = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
    ratios[positive + negative < 2 + _LEAST_COUNT - 1e-3] = 0  # 1e-3: soft targets do not sum to whole numbers exactly
    rounded: Floats = ratios.astype(np.float32)
    return rounded
