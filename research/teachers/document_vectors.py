"""Document vectors: a vector for each review, which predicts the n-grams of the review.

The source is Thongtan and Phienthrakul, "Sentiment Classification Using Document Embeddings Trained with Cosine
Similarity" (ACL 2019, Student Research Workshop). Reviews and n-grams have unit vectors. A sigmoid of the cosine of two
vectors is the probability that the n-gram occurs in the review and was not drawn at random. The training needs no
labels.

The paper learns from one n-gram at a time and draws random n-grams. Here, a step learns from a batch of reviews with
matrix products. All n-grams of the batch replace the random ones, weighted by the expected number of draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from research.teachers.ngrams import Hashes, Ids, ngrams

Floats = npt.NDArray[np.float32]

_WIDTH = 300

#: The factor of the cosine in the log-odds, and the number of random n-grams per n-gram of the review.
_SCALE = np.float32(6)
_DRAWS = np.float32(5)

#: The fewest reviews that an n-gram must occur in to get a vector.
_LEAST_COUNT = 20

_BATCH = 16

#: Steps of the reviews of a batch per step of their n-grams. A review is in one batch per epoch, an n-gram in many.
_REVIEW_STEPS = 8
_REVIEW_RATE = np.float32(0.4)
_NGRAM_RATE = np.float32(0.7)

_EPSILON = np.float32(1e-12)


class DocumentVectors:
    """Unit vectors of reviews, `vectors` float32 [reviews, width], and of the n-grams that occur in several reviews."""

    def __init__(self, reviews: Sequence[Ids], generator: np.random.Generator) -> None:
        self._generator = generator
        self._ngrams, count = _numbered([np.unique(ngrams(review)) for review in reviews])
        self.vectors = self._random(len(reviews))
        self._ngram_vectors = self._random(count)
        # Adagrad's sums of squared gradients, one for each vector.
        self._squares = np.zeros(len(reviews), np.float32)
        self._ngram_squares = np.zeros(count, np.float32)

    def fit(self, epochs: int) -> Iterator[int]:
        """Learn which n-grams occur in each review. Yields the number of each finished epoch."""
        for epoch in range(epochs):
            order = self._generator.permutation(len(self.vectors))
            for start in range(0, len(order), _BATCH):
                self._learn(order[start : start + _BATCH])
            yield epoch

    def _learn(self, reviews: npt.NDArray[np.int64]) -> None:
        """Learn from a batch: several steps for its reviews, then one for its n-grams."""
        found = [self._ngrams[review] for review in reviews]
        lengths = np.array([len(numbers) for numbers in found])
        known, places, counts = np.unique(np.concatenate(found), return_inverse=True, return_counts=True)
        if not len(known):
            return
        present = np.repeat(np.arange(len(reviews)), lengths) * len(known) + places
        draws = (_DRAWS * lengths / lengths.sum()).astype(np.float32)[:, np.newaxis]
        frequencies = counts.astype(np.float32)

        vectors, squares = self.vectors[reviews], self._squares[reviews]
        ngram_vectors = self._ngram_vectors[known]
        for _ in range(_REVIEW_STEPS):
            errors = _probabilities(vectors, ngram_vectors)
            missed = 1 - errors.ravel()[present]
            errors *= -draws
            errors *= frequencies
            errors.ravel()[present] += missed
            vectors, squares = _moved(vectors, squares, errors @ ngram_vectors, _REVIEW_RATE)
        self.vectors[reviews], self._squares[reviews] = vectors, squares
        self._ngram_vectors[known], self._ngram_squares[known] = _moved(
            ngram_vectors, self._ngram_squares[known], errors.T @ vectors, _NGRAM_RATE
        )

    def _random(self, count: int) -> Floats:
        return _unit(self._generator.standard_normal((count, _WIDTH), np.float32))


def _numbered(found: Sequence[Hashes]) -> tuple[list[npt.NDArray[np.int32]], int]:
    """Number the n-grams that are not rare. Returns the numbers in each review, and their count."""
    _, numbers, counts = np.unique(np.concatenate(found), return_inverse=True, return_counts=True)
    frequent = counts >= _LEAST_COUNT
    renumbered = np.where(frequent, np.cumsum(frequent) - 1, -1).astype(np.int32)[numbers]
    ends = np.cumsum([len(hashes) for hashes in found])
    return [part[part >= 0] for part in np.split(renumbered, ends[:-1])], int(frequent.sum())


def _probabilities(reviews: Floats, ngrams: Floats) -> Floats:
    """Return the probability that an n-gram occurs in a review and is not random: float32 [reviews, n-grams]."""
    odds = (-_SCALE * reviews) @ ngrams.T
    np.exp(odds, out=odds)
    odds *= _DRAWS
    odds += 1
    return np.reciprocal(odds, out=odds)


def _moved(vectors: Floats, squares: Floats, gradients: Floats, rate: np.float32) -> tuple[Floats, Floats]:
    """Return unit vectors after a step of Adagrad along the tangential part of `gradients`, and the new `squares`."""
    gradients = gradients - _rowwise(gradients, vectors)[:, np.newaxis] * vectors
    squares = squares + _rowwise(gradients, gradients)
    gradients *= (rate / np.sqrt(squares + _EPSILON))[:, np.newaxis]
    gradients += vectors
    return _unit(gradients), squares


def _unit(vectors: Floats) -> Floats:
    vectors /= np.sqrt(_rowwise(vectors, vectors))[:, np.newaxis]
    return vectors


def _rowwise(left: Floats, right: Floats) -> Floats:
    """Return the dot product of each pair of rows."""
    products: Floats = np.einsum("ij,ij->i", left, right)
    return products
