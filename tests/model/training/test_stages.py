"""The stages of a distillation on disk belong to one training."""

from pathlib import Path

import numpy as np

from sentiment_conv1d.model.training.stages import Stages


def test_a_stage_is_read_back(tmp_path: Path) -> None:
    """The last arrays of a stage are kept, and a stage that was not reached has none."""
    stages = Stages(tmp_path / "run", "a")
    stages.write("first", {"x": np.array([1])})
    stages.write("first", {"x": np.array([2, 3]), "y": np.array(4)})
    found = Stages(tmp_path / "run", "a").read("first")
    assert found is not None
    assert {name: array.tolist() for name, array in found.items()} == {"x": [2, 3], "y": 4}
    assert stages.read("second") is None


def test_another_training_starts_anew(tmp_path: Path) -> None:
    """Other texts or numbers are another training; the stages of the old one are removed."""
    Stages(tmp_path / "run", "ab").write("first", {"x": np.array([1])})
    assert Stages(tmp_path / "run", "cd").read("first") is None
    assert Stages(tmp_path / "run", "ab").read("first") is None


def test_nothing_stays_behind(tmp_path: Path) -> None:
    """The folder goes when the training is complete."""
    stages = Stages(tmp_path / "run", "a")
    stages.write("first", {"x": np.array([1])})
    stages.remove()
    assert list(tmp_path.iterdir()) == []
