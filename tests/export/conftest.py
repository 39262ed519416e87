"""Fixtures: a trained run, an exported artifact and small Keras models, each made once."""

from pathlib import Path

import keras
import pytest

from sentiment_conv1d.export.exporter import Exported, export
from sentiment_conv1d.export.sources.trained import Trained, from_run
from sentiment_conv1d.model.__main__ import main
from sentiment_conv1d.model.run import read_run
from tests.tiny import FLAGS, reviews

__all__ = ["reviews"]


@pytest.fixture(scope="session")
def run_path(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run, which tests only read."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", "--data", str(reviews), "--out", str(out), *FLAGS]) == 0
    return out


@pytest.fixture(scope="session")
def trained(run_path: Path) -> Trained:
    """Return the run as the export reads it."""
    return from_run(read_run(run_path))


@pytest.fixture(scope="session")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Export the run."""
    return export(trained, "tiny", tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def recurrent(trained: Trained) -> keras.Model:
    """Build a recurrent model, which cannot be folded, for the ids of the run."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((trained.tokenizer.max_tokens,), dtype="int32"),
            keras.layers.Embedding(trained.tokenizer.vocabulary_size, 4),
            keras.layers.SimpleRNN(3),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
