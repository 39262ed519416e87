"""The layers of a network of the Conv1D family as plain arrays, as they are exported and as they are explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float32]


def _sigmoid(x: Weights) -> Weights:
    small = np.exp(-np.abs(x))
    result: Weights = np.where(x >= 0, 1, small) / (1 + small)
    return result.astype(x.dtype, copy=False)


#: The activations that work on each value alone, by their ONNX operators. None of them ever falls, so they may be
#: computed once on a maximum instead of at every position.
ACTIVATIONS: dict[str, Callable[[Weights], Weights]] = {
    "Identity": lambda x: x,
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": _sigmoid,
    "Softplus": lambda x: np.logaddexp(x, np.float32(0)),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Tanh": np.tanh,
}

#: The one activation that works on all units of a layer together.
SOFTMAX = "Softmax"


@dataclass(frozen=True)
class Bank:
    """The filters of one width."""

    kernel: Weights  # [width, embedding, filters]
    bias: Weights  # [filters]
    activations: tuple[str, ...]  # ONNX operators, after the bias, in order

    @property
    def width(self) -> int:
        """Words under a filter."""
        return int(self.kernel.shape[0])


@dataclass(frozen=True)
class Dense:
    """One dense layer."""

    kernel: Weights  # [inputs, units]
    bias: Weights  # [units]
    activations: tuple[str, ...]  # ONNX operators, after the bias, in order
