"""Keras' training with checkpoints."""

from pathlib import Path

import keras
import numpy as np
import pytest

from sentiment_conv1d.artifact.configuration import Convolution
from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.training.checkpoint import Stages
from sentiment_conv1d.model.training.fitting import fit
from sentiment_conv1d.model.training.network import build

SMALL = Configuration(
    vocabulary_size=12, max_tokens=6, embedding_width=4, convolutions=(Convolution(width=2, filters=3),)
)


def test_continued_training(tmp_path: Path) -> None:
    """A checkpoint contains the weights, the optimizer's state, the history and the best weights."""
    configuration = SMALL.model_copy(update={"epochs": 5, "patience": 2, "learning_rate": 0.05})
    random = np.random.default_rng(0)
    texts = random.integers(0, 12, (40, 6), np.int32), random.integers(0, 2, 40)
    held_out = texts[0], 1 - texts[1]  # the held-out loss rises while the network learns the others
    first, second = build(configuration, 12), build(configuration, 12)
    stages = Stages(tmp_path / "run.stages", "a")
    expected = fit(first, configuration, texts, held_out, stages, show_progress=False)
    assert 0 < expected.best_epoch < len(expected.epochs)
    assert fit(second, configuration, texts, held_out, stages, show_progress=False) == expected
    for old, new in zip(first.weights, second.weights, strict=True):
        assert np.array_equal(old.numpy(), new.numpy())
    for old, new in zip(first.optimizer.variables, second.optimizer.variables, strict=True):
        assert np.array_equal(old.numpy(), new.numpy())


def test_order_of_a_continued_training(tmp_path: Path) -> None:
    """A training that continues after its first epoch reads the texts in another order than in that epoch."""
    random = np.random.default_rng(0)
    texts = random.integers(0, 12, (100, 6), np.int32), random.integers(0, 2, 100)
    for epochs in (1, 2):
        # The weights do not change, so the mean loss of the first half of the texts shows which texts these were.
        changes = {"epochs": epochs, "patience": 0, "learning_rate": 1e-12, "batch_size": 1}
        changes |= {"embedding_dropout": 0, "hidden_dropout": 0}
        configuration = SMALL.model_copy(update=changes)
        keras.utils.set_random_seed(configuration.seed)
        model = build(configuration, 12)
        stages = Stages(tmp_path / "run.stages", "a")
        progress = fit(model, configuration, texts, None, stages, show_progress=False)
    first, _, again, _ = (point["loss"] for point in progress.steps)
    assert again != pytest.approx(first, rel=1e-4)
