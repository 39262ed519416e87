"""The commands of the Makefile install what they need, and nothing else."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.processes import PATIENCE, PROJECT


@pytest.mark.parametrize("target", ["train", "train-accurate", "export"])
def test_training_without_the_development_tools(target: str, tmp_path: Path) -> None:
    """On a fresh machine, training and export install the training tools, and no development tools."""
    command = ["make", "--dry-run", f"VENV={tmp_path / 'venv'}", target]
    printed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    assert re.findall(r"--requirement (\S+)", printed) == ["requirements/train.txt"]


def test_pins_of_the_training_tools() -> None:
    """The development tools include the training tools with the same versions, so both fit into one environment."""
    training, development = pins("train"), pins("dev")
    assert {"keras", "scikit-learn", "tf2onnx"} <= set(training)
    assert training.items() <= development.items()


def pins(name: str) -> dict[str, str]:
    """Return the pinned versions of a set of requirements."""
    content = (PROJECT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([\w.-]+)==(\S+)", content, re.MULTILINE))
