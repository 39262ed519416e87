"""The student of a distillation: a pooled convolution as look-up tables, trained through the winning windows.

A filter bank directly after an embedding is equivalent to one table [vocabulary, filters] per tap, see
`model.graphs.folded`. Here, these tables are the weights. Global max pooling keeps one window per filter, so a review
changes a filter only through the words of that window. A step changes `width * filters` of millions of numbers. Adagrad
adapts the learning rate of each number, so rare words learn as fast as frequent ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from sentiment_conv1d.model.configuration import Convolution

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

_INITIAL_DEVIATION = 0.01
_EPSILON = 1e-8


class Student:
    """Banks of filters, global max pooling, a relu, and a dense layer that returns the log-odds of label 1."""

    def __init__(
        self, vocabulary_size: int, max_ids: int, banks: Sequence[Convolution], generator: np.random.Generator
    ) -> None:
        shapes = [(bank.width, vocabulary_size, bank.filters) for bank in banks]
        *starts, count = accumulate(map(math.prod, shapes), initial=0)
        # One array, so that a step is one update: NumPy takes most of its time per call.
        self._entries = generator.standard_normal(count, np.float32)
        self._entries *= np.float32(_INITIAL_DEVIATION)
        parts = np.split(self._entries, starts[1:])
        self.tables = tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
        filters = sum(bank.filters for bank in banks)
        self.weights = generator.standard_normal(filters, np.float32) * np.float32(_INITIAL_DEVIATION)
        self.bias = np.zeros(1, np.float32)
        # Adagrad's sums of squared gradients.
        self._squares = tuple(map(np.zeros_like, (self._entries, self.weights, self.bias)))
        # A filter has an entry per tap. These are its tap, the entries per word, its place for id 0, and its filter.
        per_tap = [
            (bank, filter_, tap) for bank in range(len(banks)) for filter_, tap in np.ndindex(shapes[bank][::-2])
        ]
        self._taps = np.array([tap for _, _, tap in per_tap])
        self._row_lengths = np.array([banks[bank].filters for bank, _, _ in per_tap])
        self._first_entries = np.array(
            [starts[bank] + tap * math.prod(shapes[bank][1:]) + filter_ for bank, filter_, tap in per_tap]
        )
        self._filters = np.repeat(np.arange(filters), [bank.width for bank in banks for _ in range(bank.filters)])
        # The operating system clears newly allocated memory, which would take as long as the rest of a step.
        self._sums = [np.empty((2, max_ids, bank.filters), np.float32) for bank in banks]

    @property
    def width(self) -> int:
        """The number of words in the widest window."""
        return max(map(len, self.tables))

    def predict(self, reviews: Sequence[Ids]) -> Floats:
        """Return the log-odds of label 1: float32 [reviews]."""
        return np.array([np.maximum(self._pooled(ids), 0) @ self.weights + self.bias[0] for ids in reviews], np.float32)

    def learn(
        self, ids: Ids, target: float, *, learning_rate: float, dropout: float, generator: np.random.Generator
    ) -> float:
        """Learn from one review, and return its log-odds before the step.

        `target` is the probability of label 1. `dropout` is the share of the pooled values that are set to 0.
        """
        feature_maps = [self._feature_map(bank, ids) for bank in range(len(self.tables))]
        maxima = [feature_map.max(axis=0) for feature_map in feature_maps]
        # `feature_map.argmax(axis=0)` is the same, and takes twice as long.
        winners = np.concatenate(
            [(feature_map == most).argmax(axis=0) for feature_map, most in zip(feature_maps, maxima, strict=True)]
        )
        pooled = np.concatenate(maxima)
        kept = (pooled > 0) & (generator.random(len(pooled), np.float32) >= dropout)
        pooled = np.where(kept, pooled / np.float32(1 - dropout), np.float32(0))
        logit = pooled @ self.weights + self.bias[0]
        error = expit(logit) - np.float32(target)

        gradient = error / np.float32(1 - dropout) * self.weights
        entry_squares, weight_squares, bias_squares = self._squares
        changed = np.flatnonzero(kept[self._filters])
        filters = self._filters[changed]
        words = ids[winners[filters] + self._taps[changed]]
        place = self._first_entries[changed] + words * self._row_lengths[changed]
        adagrad(self._entries, entry_squares, place, gradient[filters], learning_rate, _EPSILON)
        kept_filters = np.flatnonzero(kept)
        adagrad(self.weights, weight_squares, kept_filters, error * pooled[kept_filters], learning_rate, _EPSILON)
        adagrad(self.bias, bias_squares, 0, error, learning_rate, _EPSILON)
        return float(logit)

    def scale(self, factor: float, offset: float) -> None:
        """Change the weights so that the log-odds z become `factor * z + offset`."""
        self.weights *= np.float32(factor)
        self.bias[:] = self.bias * np.float32(factor) + np.float32(offset)

    def state(self) -> dict[str, Floats]:
        """Return the arrays of a checkpoint by name."""
        entry_squares, weight_squares, bias_squares = self._squares
        return {
            "entries": self._entries,
            "weights": self.weights,
            "bias": self.bias,
            "entry_squares": entry_squares,
            "weight_squares": weight_squares,
            "bias_squares": bias_squares,
        }

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Copy the arrays of a checkpoint into the student."""
        for name, array in self.state().items():
            array[...] = state[name]

    def _pooled(self, ids: Ids) -> Floats:
        """Return the maximum of each filter over the text: float32 [filters]."""
        return np.concatenate([self._feature_map(bank, ids).max(axis=0) for bank in range(len(self.tables))])

    def _feature_map(self, bank: int, ids: Ids) -> Floats:
        """Return the feature map of a bank, float32 [windows, filters]. The next call overwrites it."""
        tables, (sums, looked_up) = self.tables[bank], self._sums[bank]
        first, *others = _taps(ids, len(tables))
        sums, looked_up = sums[: len(first)], looked_up[: len(first)]
        # With the default mode, NumPy would write to a buffer and copy it to `out`.
        np.take(tables[0], first, axis=0, out=sums, mode="clip")
        for table, words in zip(tables[1:], others, strict=True):
            np.take(table, words, axis=0, out=looked_up, mode="clip")
            sums += looked_up
        return sums


def _taps(ids: Ids, width: int) -> list[Ids]:
    """Return an array per tap: the word under the tap in every window."""
    windows = len(ids) - width + 1
    return [ids[tap : tap + windows] for tap in range(width)]


def adagrad(
    values: Floats, squares: Floats, place: Any, gradient: Floats, learning_rate: float, epsilon: float = 0
) -> None:
    """Make a step of Adagrad for the values at a place, where `squares` has the sums of squared gradients."""
    moved = squares[place] + gradient * gradient
    squares[place] = moved
    values[place] -= learning_rate * gradient / (np.sqrt(moved) + epsilon)
