"""The stages of a training are stored on disk."""

from pathlib import Path

import numpy as np
import pytest

from sentiment_conv1d.model.run import RunError
from sentiment_conv1d.model.training.checkpoint import Stages


def test_round_trip(tmp_path: Path) -> None:
    """Reading a stage returns its last arrays, or nothing if it was not reached."""
    stages = Stages(tmp_path / "run", "a")
    stages.write("first", {"x": np.array([1])})
    stages.write("first", {"x": np.array([2, 3]), "y": np.array(4)})
    found = Stages(tmp_path / "run", "a").read("first")
    assert found is not None
    assert {name: array.tolist() for name, array in found.items()} == {"x": [2, 3], "y": 4}
    assert stages.read("second") is None


def test_another_training(tmp_path: Path) -> None:
    """A training with other texts or settings removes the stages of the previous one only if it may overwrite."""
    Stages(tmp_path / "run", "ab").write("first", {"x": np.array([1])})
    with pytest.raises(RunError, match="run contains an interrupted training with other data"):
        Stages(tmp_path / "run", "cd")
    assert Stages(tmp_path / "run", "ab", overwrite=True).read("first") is not None
    assert Stages(tmp_path / "run", "cd", overwrite=True).read("first") is None
    assert Stages(tmp_path / "run", "ab").read("first") is None


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"text"], ids=["empty", "truncated", "other"])
def test_damaged(content: bytes, tmp_path: Path) -> None:
    """The error for an arrays file that is damaged, as after a loss of power, says what to remove."""
    stages = Stages(tmp_path / "run", "a")
    stages.write("first", {"x": np.array([1])})
    (tmp_path / "run" / "a" / "first.npz").write_bytes(content)
    with pytest.raises(RunError, match=r"first\.npz: the checkpoint cannot be read .*: remove .*run$"):
        stages.read("first")


def test_complete_training(tmp_path: Path) -> None:
    """The folder is removed when the training is complete."""
    stages = Stages(tmp_path / "run", "a")
    stages.write("first", {"x": np.array([1])})
    stages.remove()
    assert list(tmp_path.iterdir()) == []
