"""The history of a training: points of the learning curves, and a row for every epoch."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt


class History:
    """Records the epochs of a training. `model.evaluation.plots` draws the learning curves from `document`.

    `measure` returns the loss and the accuracy of some outputs, given what is true of the texts. A point of the curves
    is measured on `texts_per_point` texts.
    """

    def __init__(self, measure: Callable[[Any, Any], dict[str, float]], texts_per_point: int) -> None:
        self._measure, self._texts_per_point = measure, texts_per_point
        self.document: dict[str, list[dict[str, float]]] = {"steps": [], "epochs": []}

    @property
    def epochs(self) -> list[dict[str, float]]:
        """The rows of all epochs."""
        return self.document["epochs"]

    def row(self, outputs: npt.NDArray[Any], truth: npt.NDArray[Any]) -> dict[str, float]:
        """Add the points of an epoch, and return its row. All arrays are [texts], in the order of learning."""
        steps = self.document["steps"]
        before = int(steps[-1]["step"]) if steps else 0
        for first in range(0, len(outputs), self._texts_per_point):
            part = slice(first, first + self._texts_per_point)
            step = before + min(part.stop, len(outputs))
            steps.append({"step": step, **self._measure(outputs[part], truth[part])})
        return {"epoch": len(self.epochs) + 1, **self._measure(outputs, truth)}

    def held_out(self, outputs: npt.NDArray[Any], truth: npt.NDArray[Any]) -> dict[str, float]:
        """Return the part of a row that is measured on held-out texts."""
        return {f"validation_{name}": value for name, value in self._measure(outputs, truth).items()}

    def state(self) -> npt.NDArray[np.uint8]:
        """Return the history as an array, for `restore`."""
        return np.frombuffer(json.dumps(self.document).encode(), np.uint8)

    def restore(self, state: npt.NDArray[np.uint8]) -> None:
        """Continue the history of a checkpoint."""
        self.document = json.loads(state.tobytes())
