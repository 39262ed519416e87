"""The student of a distillation: a pooled convolution as look-up tables, trained through the winning windows.

A filter bank straight after an embedding is one table [vocabulary, filters] for each of its taps
(`export.graphs.folded`), and here these tables are the weights. Each filter is pooled to its maximum, so a review
changes a filter by the words of one window, the one with the maximum. A step changes `width * filters` numbers of
millions, and Adagrad gives each of them its own learning rate, so rare words learn as fast as frequent ones.
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
    """Filters of one width, a relu, the maximum over all windows, and the log-odds of label 1 as their weighted sum."""

    def __init__(
        self, vocabulary_size: int, max_ids: int, width: int, filters: int, generator: np.random.Generator
    ) -> None:
        shape = (width, vocabulary_size, filters)
        self.tables = generator.standard_normal(shape, np.float32) * np.float32(_INITIAL_DEVIATION)
        self.weights = generator.standard_normal(filters, np.float32) * np.float32(_INITIAL_DEVIATION)
        self.bias = np.zeros(1, np.float32)
        # Adagrad's sums of squared gradients.
        self._squares = tuple(map(np.zeros_like, (self.tables, self.weights, self.bias)))
        self._columns = np.arange(filters)
        # Memory that the system hands out anew has to be cleared first, which takes as long as the rest of a step.
        self._sums, self._looked_up = np.empty((2, max_ids, filters), np.float32)

    @property
    def width(self) -> int:
        """Words under a filter at one position."""
        return len(self.tables)

    def predict(self, reviews: Sequence[Ids]) -> Floats:
        """The log-odds of label 1: [reviews]."""
        logits = [np.maximum(self._feature_map(ids).max(axis=0), 0) @ self.weights + self.bias[0] for ids in reviews]
        return np.array(logits, np.float32)

    def learn(
        self, ids: Ids, target: float, *, learning_rate: float, dropout: float, generator: np.random.Generator
    ) -> float:
        """One step on one review, `target` the probability of label 1; returns the log-odds before the step.

        `dropout` is the share of the pooled values that are left out.
        """
        feature_map = self._feature_map(ids)
        winners = feature_map.argmax(axis=0)
        pooled = feature_map[winners, self._columns]
        kept = (pooled > 0) & (generator.random(len(pooled), np.float32) >= dropout)
        pooled = np.where(kept, pooled / np.float32(1 - dropout), np.float32(0))
        logit = pooled @ self.weights + self.bias[0]
        error = expit(logit) - np.float32(target)

        filters = np.flatnonzero(kept)
        gradient = error / np.float32(1 - dropout) * self.weights[filters]
        table_squares, weight_squares, bias_squares = self._squares
        for table, squares, words in zip(self.tables, table_squares, _taps(ids, len(self.tables)), strict=True):
            _adagrad(table, squares, (words[winners[filters]], filters), gradient, learning_rate)
        _adagrad(self.weights, weight_squares, filters, error * pooled[filters], learning_rate)
        _adagrad(self.bias, bias_squares, 0, error, learning_rate)
        return float(logit)

    def scale(self, factor: float, offset: float) -> None:
        """Replace the log-odds z by `factor * z + offset`."""
        self.weights *= np.float32(factor)
        self.bias[:] = self.bias * np.float32(factor) + np.float32(offset)

    def state(self) -> dict[str, Floats]:
        """The arrays of a checkpoint, by name."""
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
        """Take over the arrays of a checkpoint."""
        for name, array in self.state().items():
            array[...] = state[name]

    def _feature_map(self, ids: Ids) -> Floats:
        """[windows, filters], valid until the next call."""
        first, *others = _taps(ids, len(self.tables))
        sums, looked_up = self._sums[: len(first)], self._looked_up[: len(first)]
        # Any mode but the default writes to `out` directly.
        np.take(self.tables[0], first, axis=0, out=sums, mode="clip")
        for table, words in zip(self.tables[1:], others, strict=True):
            np.take(table, words, axis=0, out=looked_up, mode="clip")
            sums += looked_up
        return sums


def _taps(ids: Ids, width: int) -> list[Ids]:
    """The word under each tap, for every window."""
    windows = len(ids) - width + 1
    return [ids[tap : tap + windows] for tap in range(width)]


def _adagrad(values: Floats, squares: Floats, place: Any, gradient: Floats, learning_rate: float) -> None:
    moved = squares[place] + gradient * gradient
    squares[place] = moved
    values[place] -= learning_rate * gradient / (np.sqrt(moved) + _EPSILON)
