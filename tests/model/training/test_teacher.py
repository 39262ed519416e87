"""The teacher: n-grams, weighted as naive Bayes would."""

import numpy as np
import pytest

from sentiment_conv1d.model.training.teacher import Teacher

GOOD, BAD, NOT, FILM = 3, 4, 5, 6
REVIEWS = [np.array(ids, np.int32) for ids in ([1, NOT, GOOD, FILM], [1, GOOD, FILM], [1, NOT, BAD], [1, BAD, FILM])]
TARGETS = np.array([0, 1, 1, 0], np.float32)


def trained(targets: np.ndarray[tuple[int], np.dtype[np.float32]] = TARGETS, epochs: int = 60) -> Teacher:
    teacher = Teacher()
    reviews, repeated = REVIEWS * 3, np.tile(targets, 3)
    assert list(teacher.fit(reviews, repeated, epochs, np.random.default_rng(0))) == list(range(epochs))
    return teacher


def test_it_knows_n_grams() -> None:
    """Single words do not tell these reviews apart; two words do."""
    assert (trained().predict(REVIEWS) > 0).tolist() == [False, True, True, False]


def test_it_learns_from_probabilities() -> None:
    """A review that is a little likelier to be positive gets log-odds of that size."""
    logits = trained(np.array([0.3, 0.7, 0.7, 0.3], np.float32)).predict(REVIEWS)
    assert (logits > 0).tolist() == [False, True, True, False]
    assert np.abs(logits).max() < np.abs(trained().predict(REVIEWS)).max()


def test_unseen_n_grams_say_nothing() -> None:
    """Neither do n-grams of a single review."""
    teacher = trained()
    bias = teacher.predict([np.array([900], np.int32)])
    assert teacher.predict([np.array([901, 902, 903], np.int32)]) == pytest.approx(bias)


def test_a_restored_teacher_gives_the_same_answers() -> None:
    """The state is all that its answers need."""
    teacher, restored = trained(epochs=2), Teacher()
    restored.restore(teacher.state())
    assert np.array_equal(teacher.predict(REVIEWS), restored.predict(REVIEWS))
