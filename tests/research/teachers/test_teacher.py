"""The teacher classifies n-grams that are weighted as in naive Bayes."""

import numpy as np
import pytest

from research.teachers.teacher import Teacher

GOOD, BAD, NOT, FILM = 3, 4, 5, 6
REVIEWS = [np.array(ids, np.int32) for ids in ([1, NOT, GOOD, FILM], [1, GOOD, FILM], [1, NOT, BAD], [1, BAD, FILM])]
TARGETS = np.array([0, 1, 1, 0], np.float32)


def trained(targets: np.ndarray[tuple[int], np.dtype[np.float32]] = TARGETS, epochs: int = 60) -> Teacher:
    teacher = Teacher()
    reviews, repeated = REVIEWS * 3, np.tile(targets, 3)
    assert list(teacher.fit(reviews, repeated, epochs, np.random.default_rng(0))) == list(range(epochs))
    return teacher


def test_n_grams() -> None:
    """The teacher distinguishes reviews that differ only in pairs of words."""
    assert (trained().predict(REVIEWS) > 0).tolist() == [False, True, True, False]


def test_probabilities() -> None:
    """A teacher that learns from less certain probabilities returns smaller log-odds."""
    logits = trained(np.array([0.3, 0.7, 0.7, 0.3], np.float32)).predict(REVIEWS)
    assert (logits > 0).tolist() == [False, True, True, False]
    assert np.abs(logits).max() < np.abs(trained().predict(REVIEWS)).max()


def test_unseen_n_grams() -> None:
    """Unseen n-grams have no weight."""
    teacher = trained()
    bias = teacher.predict([np.array([900], np.int32)])
    assert teacher.predict([np.array([901, 902, 903], np.int32)]) == pytest.approx(bias)


def test_restored_teacher() -> None:
    """A restored teacher gives the same answers as the original one."""
    teacher, restored = trained(epochs=2), Teacher()
    restored.restore(teacher.state())
    assert np.array_equal(teacher.predict(REVIEWS), restored.predict(REVIEWS))
