"""Fine-tuning."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest

from research.transformer import training
from research.transformer.network import Classifier
from research.transformer.pieces import pad
from research.transformer.weights import Tensors, assign
from tests.research.transformer.conftest import SIZE

_RANDOM = np.random.default_rng(0)
_ROWS = [_RANDOM.integers(4, 30, length).tolist() for length in _RANDOM.integers(2, 16, 200)]
_TARGETS = np.eye(2, dtype=np.float32)[[row[0] % 2 for row in _ROWS]]


def test_course(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch has every review once, and as many batches of the next length as were chosen."""
    monkeypatch.setattr(training, "EPOCHS", ((7, 8), (2, 16)))
    batches, _, falling = training.course(_ROWS)
    assert falling == 2
    assert [length for length, _ in batches] == [8] * 7 + [16] * 2
    assert sorted(np.concatenate([rows for _, rows in batches[:7]])) == list(range(200))


def test_course_of_a_mixture() -> None:
    """Every text is read once, in large batches of similar length."""
    batches, _, falling = training.mixture_course(_ROWS, np.random.default_rng(0))
    read = [rows for _, rows in batches]
    assert sorted(np.concatenate(read)) == list(range(200))
    assert max(map(len, read)) == 64 and falling == int(0.8 * len(batches))
    assert max(np.ptp([len(_ROWS[row]) for row in rows]) for rows in read) < 8


def test_learning_rate() -> None:
    """The rate rises, stays, and falls to almost 0 at the end."""
    rate = training.LearningRate(steps=300, rising=140, falling=100)
    rates = [float(rate(step)) for step in range(300)]
    assert rates[0] == pytest.approx(1e-4 / 140) and rates[139:200] == pytest.approx([1e-4] * 61)
    assert rates[250] == pytest.approx(5e-5) and rates[299] == pytest.approx(1e-6)


def test_an_interrupted_training_continues(monkeypatch: pytest.MonkeyPatch, tensors: Tensors, tmp_path: Path) -> None:
    """An interrupted training ends with the weights of an uninterrupted one, and does not change the embeddings."""
    monkeypatch.setattr(training, "EPOCHS", ((7, 8), (3, 16)))
    monkeypatch.setattr(training, "FROZEN_BLOCKS", 1)
    monkeypatch.setattr(training, "_BETWEEN_CHECKPOINTS", 4)

    def fitted(folder: str) -> Classifier:
        keras.utils.set_random_seed(0)
        model = Classifier(SIZE, 2)
        assign(model, tensors)
        training.fit(model, _ROWS, _TARGETS, training.course(_ROWS), tmp_path / folder)
        return model

    straight = fitted("straight")
    with monkeypatch.context() as interrupting:
        interrupting.setattr(training, "pad", _interrupt_after(6))
        with pytest.raises(KeyboardInterrupt):
            fitted("interrupted")
    continued = fitted("interrupted")
    for expected, weights in zip(straight.get_weights(), continued.get_weights(), strict=True):
        assert weights == pytest.approx(expected, abs=1e-6)
    assert (straight.embedding.words.get_weights()[0] == tensors["embeddings.word_embeddings.weight"]).all()
    assert not np.allclose(
        straight.blocks[1].query.get_weights()[0], tensors["encoder.layer.1.attention.self.query.weight"].T
    )


def _interrupt_after(batches: int) -> Callable[..., npt.NDArray[np.int32]]:
    calls = count()

    def interrupting(rows: Sequence[Sequence[int]], multiple: int) -> npt.NDArray[np.int32]:
        if next(calls) == batches:
            raise KeyboardInterrupt
        return pad(rows, multiple)

    return interrupting
