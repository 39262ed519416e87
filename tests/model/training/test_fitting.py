"""Keras' training with checkpoints."""

from pathlib import Path

import numpy as np

from sentiment_conv1d.model.configuration import Configuration, Convolution
from sentiment_conv1d.model.training.checkpoint import Stages
from sentiment_conv1d.model.training.fitting import fit
from sentiment_conv1d.model.training.network import build


def test_continued_training(tmp_path: Path) -> None:
    """A checkpoint contains the weights, the optimizer's state, the history and the best weights."""
    configuration = Configuration(
        vocabulary_size=12, max_tokens=6, embedding_width=4, convolutions=(Convolution(width=2, filters=3),)
    ).model_copy(update={"epochs": 5, "patience": 2, "learning_rate": 0.05})
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
