"""The student of a distillation: a pooled convolution as look-up tables, trained through the winning windows.

A filter bank directly after an embedding is equivalent to one table [vocabulary, filters] per tap, see
`model.graphs.folded`. Here, these tables are the weights. Global max pooling keeps one window per filter, so a review
changes a filter only through the words of that window. A step changes `width * filters` of millions of numbers. Adagrad
adapts the learning rate of each number, so rare words learn as fast as frequent ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

_INITIAL_DEVIATION = 0.01
_EPSILON = 1e-8


class Student:
    """Filters of one width, global max pooling, a relu, and a dense layer that returns the log-odds of label 1."""

    def __init__(
        self, vocabulary_size: int, max_ids: int, width: int, filters: int, generator: np.random.Generator
    ) -> None:
        shape = (width, vocabulary_size, filters)
        self.tables = generator.standard_normal(shape, np.float32) * np.float32(_INITIAL_DEVIATION)
        self.weights = generator.standard_normal(filters, np.float32) * np.float32(_INITIAL_DEVIATION)
        self.bias = np.zeros(1, np.float32)
        # Adagrad's sums of squared gradients.
        self._squares = tuple(map(np.zeros_like, (self.tables, self.weights, self.bias)))
        self._taps = np.arange(width)[:, np.newaxis]
        # The operating system clears newly allocated memory, which would take as long as the rest of a step.
        self._sums, self._looked_up = np.empty((2, max_ids, filters), np.float32)

    @property
    def width(self) -> int:
        """The number of words in a window."""
        return len(self.tables)

    def predict(self, reviews: Sequence[Ids]) -> Floats:
        """Return the log-odds of label 1: float32 [reviews]."""
        logits = [np.maximum(self._feature_map(ids).max(axis=0), 0) @ self.weights + self.bias[0] for ids in reviews]
        return np.array(logits, np.float32)

    def learn(
        self, ids: Ids, target: float, *, learning_rate: float, dropout: float, generator: np.random.Generator
    ) -> float:
        """Learn from one review, and return its log-odds before the step.

        `target` is the probability of label 1. `dropout` is the share of the pooled values that are set to 0.
        """
        feature_map = self._feature_map(ids)
        pooled = feature_map.max(axis=0)
        # `feature_map.argmax(axis=0)` is the same, and takes twice as long.
        winners = (feature_map == pooled).argmax(axis=0)
        kept = (pooled > 0) & (generator.random(len(pooled), np.float32) >= dropout)
        pooled = np.where(kept, pooled / np.float32(1 - dropout), np.float32(0))
        logit = pooled @ self.weights + self.bias[0]
        error = expit(logit) - np.float32(target)

        filters = np.flatnonzero(kept)
        gradient = error / np.float32(1 - dropout) * self.weights[filters]
        table_squares, weight_squares, bias_squares = self._squares
        words = ids[winners[filters] + self._taps]
        # Flat views, because NumPy takes less time for one index than for three.
        place = (self._taps * self.tables.shape[1] + words) * self.tables.shape[2] + filters
        _adagrad(self.tables.reshape(-1), table_squares.reshape(-1), place, gradient, learning_rate)
        _adagrad(self.weights, weight_squares, filters, error * pooled[filters], learning_rate)
        _adagrad(self.bias, bias_squares, 0, error, learning_rate)
        return float(logit)

    def scale(self, factor: float, offset: float) -> None:
        """Change the weights so that the log-odds z become `factor * z + offset`."""
        self.weights *= np.float32(factor)
        self.bias[:] = self.bias * np.float32(factor) + np.float32(offset)

    def state(self) -> dict[str, Floats]:
        """Return the arrays of a checkpoint by name."""
        table_squares, weight_squares, bias_squares = self._squares
        return {
            "tables": self.tables,
            "weights": self.weights,
            "bias": self.bias,
            "table_squares": table_squares,
            "weight_squares": weight_squares,
            "bias_squares": bias_squares,
        }

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Copy the arrays of a checkpoint into the student."""
        for name, array in self.state().items():
            array[...] = state[name]

    def _feature_map(self, ids: Ids) -> Floats:
        """Return the feature map, float32 [windows, filters]. The next call overwrites it."""
        first, *others = _taps(ids, len(self.tables))
        sums, looked_up = self._sums[: len(first)], self._looked_up[: len(first)]
        # With the default mode, NumPy would write to a buffer and copy it to `out`.
        np.take(self.tables[0], first, axis=0, out=sums, mode="clip")
        for table, words in zip(self.tables[1:], others, strict=True):
            np.take(table, words, axis=0, out=looked_up, mode="clip")
            sums += looked_up
        return sums


def _taps(ids: Ids, width: int) -> list[Ids]:
    """Return an array per tap: the word under the tap in every window."""
    windows = len(ids) - width + 1
    return [ids[tap : tap + windows] for tap in range(width)]


def _adagrad(values: Floats, squares: Floats, place: Any, gradient: Floats, learning_rate: float) -> None:
    moved = squares[place] + gradient * gradient
    squares[place] = moved
    values[place] -= learning_rate * gradient / (np.sqrt(moved) + _EPSILON)
