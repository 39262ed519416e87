"""The weights of runs, and a disk that is full."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentiment_conv1d.model.evaluation import trained
from sentiment_conv1d.model.run import read_run
from sentiment_conv1d.model.training.checkpoint import Stages


def weights(run: Path) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Return the weights of the Keras model of a run."""
    return [np.asarray(array) for array in trained.load(read_run(run)).get_weights()]


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every checkpoint fail as on a full disk."""

    def full(self: Stages, *state: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Stages, "write", full)
