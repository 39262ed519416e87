"""Checkpoints belong to one training."""

from pathlib import Path

import numpy as np

from sentiment_conv1d.model.checkpoints import Checkpoints


def test_a_stage_is_read_back(tmp_path: Path) -> None:
    """The last arrays of a stage are kept, and a stage that was not reached has none."""
    checkpoints = Checkpoints(tmp_path / "run", ["a"])
    checkpoints.write("first", {"x": np.array([1])})
    checkpoints.write("first", {"x": np.array([2, 3]), "y": np.array(4)})
    found = Checkpoints(tmp_path / "run", ["a"]).read("first")
    assert found is not None
    assert {name: array.tolist() for name, array in found.items()} == {"x": [2, 3], "y": 4}
    assert checkpoints.read("second") is None


def test_another_training_starts_anew(tmp_path: Path) -> None:
    """Other texts or numbers are another training; its checkpoints replace the old ones."""
    Checkpoints(tmp_path / "run", ["a", "b"]).write("first", {"x": np.array([1])})
    assert Checkpoints(tmp_path / "run", ["ab"]).read("first") is None
    assert Checkpoints(tmp_path / "run", ["a", "b"]).read("first") is None


def test_nothing_stays_behind(tmp_path: Path) -> None:
    """The folder goes when the training is complete."""
    checkpoints = Checkpoints(tmp_path / "run", [])
    checkpoints.write("first", {"x": np.array([1])})
    checkpoints.remove()
    assert list(tmp_path.iterdir()) == []
