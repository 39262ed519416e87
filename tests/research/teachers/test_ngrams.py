"""N-grams of one to three words, as hashes."""

import numpy as np

from research.teachers.ngrams import ngrams


def test_n_grams_of_a_review() -> None:
    """Four words have four n-grams of one word, three of two words and two of three words, with different hashes."""
    found = ngrams(np.array([3, 4, 5, 6], np.int32))
    assert len(found) == len(np.unique(found)) == 4 + 3 + 2


def test_order_of_words() -> None:
    """Two words have the same hash in every review, and in the opposite order they have another one."""
    first, second = ngrams(np.array([3, 4, 5], np.int32)), ngrams(np.array([9, 3, 4], np.int32))
    assert first[3] == second[4]
    assert first[3] not in ngrams(np.array([4, 3], np.int32))


def test_short_reviews() -> None:
    """A review of one word has one n-gram."""
    assert len(ngrams(np.array([3], np.int32))) == 1
