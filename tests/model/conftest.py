"""Fixtures: training data and runs, each trained once."""

from pathlib import Path

import pytest

from sentiment_conv1d.model.__main__ import main
from tests.tiny import FLAGS, reviews, write_reviews

__all__ = ["reviews"]


@pytest.fixture(scope="session")
def run_path(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run with validation. Tests that change it make a copy first."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    arguments = ["train", "--data", str(reviews), "--out", str(out), *FLAGS, "--validation-fraction", "0.2"]
    assert main(arguments) == 0
    return out


@pytest.fixture(scope="session")
def run_of_three_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run on reviews with three labels."""
    folder = tmp_path_factory.mktemp("three")
    data = write_reviews(folder / "three.csv", ("bad", "good", "so-so"))
    assert main(["train", "--data", str(data), "--out", str(folder / "run"), *FLAGS]) == 0
    return folder / "run"
