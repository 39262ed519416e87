"""The student: its gradients, its tables and its Keras network."""

import numpy as np
import pytest

from sentiment_conv1d.model.configuration import Configuration, Convolution
from sentiment_conv1d.model.training.network import of_tables
from sentiment_conv1d.model.training.student import Student

VOCABULARY, LENGTH = 12, 9
BANKS = (Convolution(width=1, filters=3), Convolution(width=3, filters=5))
FILTERS = 8


def student(seed: int = 0) -> Student:
    return Student(VOCABULARY, LENGTH, BANKS, np.random.default_rng(seed))


def review(seed: int = 0, length: int = LENGTH) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.random.default_rng(seed).integers(0, VOCABULARY, length, dtype=np.int32)


def learn(model: Student, ids: np.ndarray[tuple[int], np.dtype[np.int32]], target: float, dropout: float = 0) -> float:
    return model.learn(ids, target, learning_rate=0.01, dropout=dropout, generator=np.random.default_rng(1))


def test_keras_network() -> None:
    """The Keras network of a student, whose embedding contains the tables, returns the student's probabilities."""
    configuration = Configuration(
        vocabulary_size=VOCABULARY,
        max_tokens=LENGTH,
        embedding_width=1 * 3 + 3 * 5,
        convolutions=BANKS,
        hidden_width=0,
        recipe="distillation",
    )
    model = student()
    model.bias[:] = 0.5
    rows = [review(seed) for seed in range(20)]
    expected = 1 / (1 + np.exp(-model.predict(rows)))
    network = of_tables(configuration, model.tables, model.weights[:, np.newaxis], model.bias)
    assert np.asarray(network(np.stack(rows)))[:, 0] == pytest.approx(expected, abs=1e-6)


def test_first_step() -> None:
    """The first step of Adagrad moves each weight by the learning rate against the sign of its numerical gradient."""
    ids, target = review(), 1.0
    model, moved = student(), student()
    learn(moved, ids, target)

    def loss() -> float:
        return float(np.logaddexp(0, -model.predict([ids])[0]))

    for values, after in (
        *zip(model.tables, moved.tables, strict=True),
        (model.weights, moved.weights),
        (model.bias, moved.bias),
    ):
        steps = after - values
        for place in np.ndindex(values.shape):
            before, kept = loss(), values[place].copy()
            values[place] += 1e-2
            gradient = loss() - before
            values[place] = kept
            if abs(steps[place]) > 0:
                assert steps[place] == pytest.approx(-0.01 * np.sign(gradient), rel=1e-3)


def test_changed_entries() -> None:
    """A step changes only the table entries of one window per filter."""
    model, moved = student(), student()
    learn(moved, review(), 0.0)
    for before, after in zip(model.tables, moved.tables, strict=True):
        changed = (before != after).sum(axis=1)
        assert changed.shape == (len(before), before.shape[2])
        assert changed.max() == 1


def test_learning() -> None:
    """The student learns to distinguish two reviews with different labels."""
    model, reviews = student(), [review(1), review(2)]
    for _ in range(200):
        learn(model, reviews[0], 0.0)
        learn(model, reviews[1], 1.0)
    logits = model.predict(reviews)
    assert logits[0] < 0 < logits[1]


def test_dropout() -> None:
    """With dropout, a step changes only some of the filters."""
    model, moved = student(), student()
    learn(moved, review(), 0.0, dropout=0.6)
    pairs = zip(model.tables, moved.tables, strict=True)
    changed = sum(int((before != after).any(axis=(0, 1)).sum()) for before, after in pairs)
    assert 0 < changed < FILTERS


def test_restored_student() -> None:
    """A restored student learns like the original one, because its state includes the sums of squared gradients."""
    first, second = student(0), student(1)
    learn(first, review(), 0.0)
    second.restore(first.state())
    learn(first, review(1), 1.0)
    learn(second, review(1), 1.0)
    assert all(np.array_equal(*pair) for pair in zip(first.tables, second.tables, strict=True))


def test_scaled_log_odds() -> None:
    """`scale` multiplies the log-odds by a factor and adds an offset."""
    model, reviews = student(), [review(seed) for seed in range(5)]
    before = model.predict(reviews)
    model.scale(2, -0.5)
    assert model.predict(reviews) == pytest.approx(2 * before - 0.5, abs=1e-6)
