"""A linear model of word counts, which is solved instead of trained, beside the networks of an ensemble.

Each output is a logistic regression on the counts of the words, each times its log-count ratio, as in the NB-SVM of
Wang and Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification" (ACL 2012). It needs few
texts, and its errors differ from those of filters, whose maxima do not count how often a word occurs.

The sum of what the words of a text add is an average over the text times its length with the padding, so a linear model
is a bank of filters of one word with average pooling, one filter for each output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from sentiment_conv1d.artifact.configuration import RESERVED_IDS, BaseConfiguration, Convolution
from sentiment_conv1d.model.configuration import with_banks
from sentiment_conv1d.model.evaluation.baseline import log_count_ratio
from sentiment_conv1d.model.training.table_network import Floats, Ids, TableNetwork

#: The part of the linear model in the mean logits. See `docs/training.md`.
SHARE = np.float32(0.25)

#: The inverse strength of the regularization.
_STRENGTH = 0.3


@dataclass(frozen=True, eq=False)
class Linear:
    """What each occurrence of a word adds to the logits, [words, outputs], and the bias, [outputs]."""

    weights: Floats
    bias: Floats

    def predict(self, texts: Sequence[Ids]) -> Floats:
        """Return the logits of texts: float32 [texts, outputs]."""
        return np.asarray(_counts(texts, len(self.weights)) @ self.weights + self.bias, np.float32)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Several networks and a linear model, whose logits are averaged. Without a linear model, the networks alone."""

    network: TableNetwork
    linear: Linear | None

    def configured(self, configuration: BaseConfiguration) -> BaseConfiguration:
        """Return the configuration of the networks and of the linear model, from that of the networks."""
        own = [] if self.linear is None else [Convolution(width=1, filters=len(self.linear.bias), pooling="mean")]
        return with_banks(configuration, [*configuration.convolutions, *own])

    @property
    def tables(self) -> list[Floats]:
        """The tables of all banks, [width, vocabulary, filters], that of the linear model last."""
        return [*self.network.tables, *([] if self.linear is None else [self.linear.weights[np.newaxis]])]

    @property
    def dense(self) -> tuple[Floats, Floats]:
        """The kernel [filters, outputs] and the bias [outputs] of the dense layer that computes the logits."""
        kernel, bias = self.network.dense
        if self.linear is None:
            return kernel, bias
        of_linear = SHARE * np.eye(len(bias), dtype=np.float32)
        return np.concatenate([(1 - SHARE) * kernel, of_linear]), (1 - SHARE) * bias + SHARE * self.linear.bias

    def predict(self, texts: Sequence[Ids]) -> Floats:
        """Return the logits of texts: float32 [texts, outputs]."""
        return mean(self.network.predict(texts), None if self.linear is None else self.linear.predict(texts))


def mean(of_networks: Floats, of_linear: Floats | None) -> Floats:
    """Return the mean of the logits of networks and of the linear model beside them, if there is one."""
    return of_networks if of_linear is None else (1 - SHARE) * of_networks + SHARE * of_linear


def solve(
    texts: Sequence[Ids], labels: npt.NDArray[np.int64], weights: Floats, vocabulary_size: int, outputs: int
) -> Linear:
    """Fit a linear model to texts with labels [texts] and weights in the loss [texts].

    Of several outputs, each tells one label from the others. The reserved ids add nothing.
    """
    counts = _counts(texts, vocabulary_size)
    solved = [_regression(counts, labels == label, weights) for label in (range(outputs) if outputs > 1 else [1])]
    of_words, biases = zip(*solved, strict=True)
    return Linear(np.stack(of_words, axis=1), np.array(biases, np.float32))


def _regression(counts: Any, own: npt.NDArray[np.bool_], weights: Floats) -> tuple[Floats, float]:
    """Return what each occurrence of a word adds to the logit of some texts against the others, [words], and the bias.

    If all texts are alike, no word adds anything.
    """
    if own.all() or not own.any():
        return np.zeros(counts.shape[1], np.float32), float(np.log((1 + own.sum()) / (1 + (~own).sum())))
    ratio = log_count_ratio(counts, own)
    model = LogisticRegression(C=_STRENGTH, max_iter=1000)
    model.fit(counts.multiply(ratio).tocsr(), own, sample_weight=weights)
    return np.asarray(model.coef_[0] * ratio, np.float32), float(model.intercept_[0])


def _counts(texts: Sequence[Ids], vocabulary_size: int) -> Any:
    """Count the words of texts, without the reserved ids: a sparse array, float32 [texts, vocabulary_size]."""
    words = [ids[ids >= RESERVED_IDS] for ids in texts]
    rows = np.repeat(np.arange(len(words)), [len(ids) for ids in words])
    columns = np.concatenate([np.empty(0, np.int32), *words])
    return csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(words), vocabulary_size))
