"""Several small networks that are trained together and averaged into one.

Each member has its own filters, which are look-up tables as in `model.training.student`, and its own dense layer. The
members see the same texts, and each learns from its own errors. They differ in their initial weights and in the pooled
values that dropout removes. The mean of their logits equals the logits of one network that has the filters of all
members, so the average costs no more than any network of its size.

A step changes only the words of the winning windows. Adagrad starts with a positive sum of squares, so that words that
occur once or twice move less than with a sum of 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

from sentiment_conv1d.model.configuration import Convolution
from sentiment_conv1d.model.training.student import adagrad

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

_INITIAL_DEVIATION = 0.01
_INITIAL_SQUARES = 0.02


class Ensemble:
    """The members. `convolutions` are the banks of all members together, which share the filters of each bank."""

    def __init__(
        self,
        vocabulary_size: int,
        outputs: int,
        convolutions: Sequence[Convolution],
        members: int,
        generator: np.random.Generator,
    ) -> None:
        def normal(*shape: int) -> Floats:
            return generator.standard_normal(shape, np.float32) * np.float32(_INITIAL_DEVIATION)

        self.tables = [normal(bank.width, vocabulary_size, bank.filters) for bank in convolutions]
        self.weights = normal(sum(bank.filters for bank in convolutions), outputs)
        self.biases = np.zeros((members, outputs), np.float32)
        self._squares = [np.full_like(each, _INITIAL_SQUARES) for each in (*self.tables, self.weights, self.biases)]
        self._member = np.concatenate([np.arange(bank.filters) * members // bank.filters for bank in convolutions])
        self._of_member = (np.arange(members)[:, np.newaxis] == self._member).astype(np.float32)  # [members, filters]
        self._columns = [np.arange(bank.filters) for bank in convolutions]

    @property
    def span(self) -> int:
        """The number of words under the widest filters."""
        return max(len(table) for table in self.tables)

    @property
    def dense(self) -> tuple[Floats, Floats]:
        """The kernel [filters, outputs] and the bias [outputs] of the dense layer that computes the mean logits."""
        return self.weights / np.float32(len(self.biases)), self.biases.mean(axis=0)

    def predict(self, texts: Sequence[Ids]) -> Floats:
        """Return the probabilities by the mean of the members' logits: float32 [texts, outputs]."""
        kernel, bias = self.dense
        pooled = np.array([self._pooled(ids)[0] for ids in texts], np.float32)
        return _probabilities(np.maximum(pooled, 0) @ kernel + bias)

    def learn(
        self,
        ids: Ids,
        target: Floats,
        *,
        learning_rate: float,
        dropout: float,
        generator: np.random.Generator,
        weight: float = 1,
    ) -> Floats:
        """Learn from one text, and return the probabilities by the mean logits before the step: [outputs].

        `target` are the probabilities to learn, [outputs]. `dropout` is the share of the pooled values that are set to
        0, and `weight` is that of the text in the loss.
        """
        values, winners = self._pooled(ids)
        kept = np.flatnonzero((values > 0) & (generator.random(len(values), np.float32) >= dropout))
        scale = np.float32(1 / (1 - dropout))
        pooled, weights = values[kept] * scale, self.weights[kept]
        logits = self._of_member[:, kept] @ (pooled[:, np.newaxis] * weights) + self.biases
        errors = np.float32(weight) * (_probabilities(logits) - target)
        of_filters = errors[self._member[kept]]
        gradient = (of_filters * weights).sum(axis=1) * scale

        *table_squares, weight_squares, bias_squares = self._squares
        first = 0
        for table, squares, positions in zip(self.tables, table_squares, winners, strict=True):
            low, high = np.searchsorted(kept, (first, first + len(positions)))
            filters, own = kept[low:high] - first, gradient[low:high]
            for tap, (rows, sums) in enumerate(zip(table, squares, strict=True)):
                adagrad(rows, sums, (ids[positions[filters] + tap], filters), own, learning_rate)
            first += len(positions)
        adagrad(self.weights, weight_squares, kept, pooled[:, np.newaxis] * of_filters, learning_rate)
        adagrad(self.biases, bias_squares, slice(None), errors, learning_rate)
        return _probabilities(logits.mean(axis=0))

    def weights_by_name(self) -> dict[str, Floats]:
        """Return the weights, for `set_weights`."""
        return {"weights": self.weights, "biases": self.biases} | {
            f"table_{number}": table for number, table in enumerate(self.tables)
        }

    def state(self) -> dict[str, Floats]:
        """Return the weights and Adagrad's sums, for `restore`."""
        return self.weights_by_name() | {f"squares_{number}": sums for number, sums in enumerate(self._squares)}

    def set_weights(self, weights: Mapping[str, Floats]) -> None:
        """Copy weights into the ensemble."""
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

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Copy a state into the ensemble."""
        for name, array in self.state().items():
            array[...] = state[name]

    def _pooled(self, ids: Ids) -> tuple[Floats, list[npt.NDArray[np.intp]]]:
        """Return the maxima of all filters, [filters], and their positions for each bank."""
        values, winners = [], []
        for table, columns in zip(self.tables, self._columns, strict=True):
            windows = len(ids) - len(table) + 1
            sums = table[0].take(ids[:windows], axis=0)
            for tap in range(1, len(table)):
                sums += table[tap].take(ids[tap : tap + windows], axis=0)
            positions = sums.argmax(axis=0)
            values.append(sums[positions, columns])
            winners.append(positions)
        return np.concatenate(values), winners


def _probabilities(logits: Floats) -> Floats:
    """Return the sigmoid of a single logit, and the softmax of several, along the last axis."""
    return np.asarray(expit(logits) if logits.shape[-1] == 1 else softmax(logits, axis=-1), np.float32)
