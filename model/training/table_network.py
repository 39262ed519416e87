"""A pooled convolution as look-up tables, trained through the winning windows.

A filter bank directly after an embedding is equivalent to one table [vocabulary, filters] per tap, see
`artifact.graphs.folded`. Here, these tables are the weights. Global max pooling keeps one window per filter, so a text
changes a filter only through the words of that window. A step changes `width * filters` of millions of numbers. Adagrad
adapts the learning rate of each number, so rare words learn as fast as frequent ones.

The network can consist of several members, which learn the same texts. Each has its own filters and its own dense
layer, and learns from its own errors. The members differ in their initial weights and in the pooled values that dropout
removes. The mean of their logits equals the logits of one network that has the filters of all members, so the average
costs no more than any network of its size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.configuration import Convolution
from sentiment_conv1d.model.evaluation.evaluation import probabilities

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

_INITIAL_DEVIATION = 0.01
_EPSILON = 1e-8


class TableNetwork:
    """Banks of filters, global max pooling, a relu, and a dense layer that returns logits.

    `banks` are those of all members together, which share the filters of each bank. With positive `initial_squares`,
    with which Adagrad's sums start, words that occur once or twice move less.
    """

    def __init__(
        self,
        vocabulary_size: int,
        max_ids: int,
        banks: Sequence[Convolution],
        generator: np.random.Generator,
        *,
        outputs: int = 1,
        members: int = 1,
        initial_squares: float = 0,
    ) -> None:
        shapes = [(bank.width, vocabulary_size, bank.filters) for bank in banks]
        *starts, count = accumulate(map(math.prod, shapes), initial=0)
        # One array, so that a step is one update: NumPy takes most of its time per call.
        self._entries = generator.standard_normal(count, np.float32)
        self._entries *= np.float32(_INITIAL_DEVIATION)
        parts = np.split(self._entries, starts[1:])
        self.tables = tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
        filters = sum(bank.filters for bank in banks)
        self.weights = generator.standard_normal((filters, outputs), np.float32) * np.float32(_INITIAL_DEVIATION)
        self.biases = np.zeros((members, outputs), np.float32)
        # Adagrad's sums of squared gradients.
        self._squares = {name: np.full_like(each, initial_squares) for name, each in self.weights_by_name().items()}
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
        self._member = np.concatenate([np.arange(bank.filters) * members // bank.filters for bank in banks])
        self._of_member = (np.arange(members)[:, np.newaxis] == self._member).astype(np.float32)  # [members, filters]
        # The operating system clears newly allocated memory, which would take as long as the rest of a step.
        self._sums = [np.empty((2, max_ids, bank.filters), np.float32) for bank in banks]

    @property
    def width(self) -> int:
        """The number of words in the widest window."""
        return max(map(len, self.tables))

    @property
    def dense(self) -> tuple[Floats, Floats]:
        """The kernel [filters, outputs] and the bias [outputs] of the dense layer that computes the mean logits."""
        return self.weights / np.float32(len(self.biases)), self.biases.mean(axis=0)

    def predict(self, texts: Sequence[Ids]) -> Floats:
        """Return the mean logits of the members: float32 [texts, outputs]."""
        kernel, bias = self.dense
        return np.array([np.maximum(self._pooled(ids), 0) @ kernel + bias for ids in texts], np.float32)

    def learn(
        self,
        ids: Ids,
        target: Floats | float,
        *,
        learning_rate: float,
        dropout: float,
        generator: np.random.Generator,
        weight: float = 1,
    ) -> Floats:
        """Learn from one text, and return the mean logits before the step: [outputs].

        `target` are the probabilities to learn, [outputs]. `dropout` is the share of the pooled values that are set to
        0, and `weight` is that of the text in the loss.
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
        logits: Floats = (self._of_member * pooled) @ self.weights + self.biases
        errors = np.float32(weight) * (probabilities(logits) - np.asarray(target, np.float32))

        gradient = ((errors / np.float32(1 - dropout))[self._member] * self.weights).sum(axis=1)
        changed = np.flatnonzero(kept[self._filters])
        filters = self._filters[changed]
        words = ids[winners[filters] + self._taps[changed]]
        place = self._first_entries[changed] + words * self._row_lengths[changed]
        kept_filters = np.flatnonzero(kept)
        of_kept = errors[self._member[kept_filters]] * pooled[kept_filters, np.newaxis]
        for name, where, slope in (
            ("entries", place, gradient[filters]),
            ("weights", kept_filters, of_kept),
            ("biases", slice(None), errors),
        ):
            adagrad(self.weights_by_name()[name], self._squares[name], where, slope, learning_rate, _EPSILON)
        return np.asarray(logits.mean(axis=0))

    def scale(self, factor: float, offset: npt.ArrayLike) -> None:
        """Change the weights so that the logits z become `factor * z + offset`. `offset` is a number, or [outputs]."""
        self.weights *= np.float32(factor)
        self.biases[:] = self.biases * np.float32(factor) + np.asarray(offset, np.float32)

    def centre(self) -> None:
        """Subtract the mean of the outputs from each of them, which changes no softmax.

        A logit then says how much more probable its label is than the labels on average.
        """
        for each in (self.weights, self.biases):
            each -= each.mean(axis=1, keepdims=True)

    def weights_by_name(self) -> dict[str, Floats]:
        """Return the weights, for `set_weights`."""
        return {"entries": self._entries, "weights": self.weights, "biases": self.biases}

    def set_weights(self, weights: Mapping[str, Floats]) -> None:
        """Copy weights into the network."""
        for name, array in self.weights_by_name().items():
            array[...] = weights[name]

    def set_mean(self, tables: Sequence[Floats], kernel: Floats, bias: Floats) -> None:
        """Set the filters of all members, and let each compute with its own what adds up to the mean logits.

        `tables` are [width, vocabulary, filters] for each bank, and `kernel` and `bias` are those of `dense`.
        """
        for own, given in zip(self.tables, tables, strict=True):
            own[...] = given
        self.weights[...] = kernel * np.float32(len(self.biases))
        self.biases[...] = bias

    def state(self) -> dict[str, Floats]:
        """Return the weights and Adagrad's sums, for `restore`."""
        return self.weights_by_name() | {f"squares_of_{name}": sums for name, sums in self._squares.items()}

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Copy a state into the network."""
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
    values: Floats, squares: Floats, place: Any, gradient: Floats, learning_rate: float, epsilon: float
) -> None:
    """Make a step of Adagrad for the values at a place, where `squares` has the sums of squared gradients."""
    moved = squares[place] + gradient * gradient
    squares[place] = moved
    values[place] -= learning_rate * gradient / (np.sqrt(moved) + epsilon)
