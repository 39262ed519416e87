"""The layers of the Conv1D family as plain arrays, for export and explanations, and what they compute.

The notation of an activation is its ONNX operator, followed by the operator's `alpha` if it has one: `Relu`,
`LeakyRelu(0.2)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float32]
Positions = npt.NDArray[np.intp]


def _sigmoid(x: Weights) -> Weights:
    small = np.exp(-np.abs(x))
    result: Weights = np.where(x >= 0, 1, small) / (1 + small)
    return result.astype(x.dtype, copy=False)


def _exponential(x: Weights, alpha: float) -> Weights:
    result: Weights = np.where(x > 0, x, np.float32(alpha) * np.expm1(np.minimum(x, 0)))
    return result


def _softplus(x: Weights) -> Weights:
    return np.logaddexp(x, np.float32(0))


def _hard_sigmoid(x: Weights, alpha: float) -> Weights:
    result: Weights = np.clip(np.float32(alpha) * x + np.float32(0.5), 0, 1)
    return result


def _gelu(x: Weights, _: float) -> Weights:
    errors = np.array([math.erf(each / math.sqrt(2)) for each in x.ravel().tolist()], np.float32)
    result: Weights = x * (np.float32(1) + errors.reshape(x.shape)) * np.float32(0.5)
    return result


#: Activations that fall to a minimum and then rise. The maximum of such an activation over a set of numbers is its
#: value at the largest or at the smallest of them.
QUASICONVEX: dict[str, Callable[[Weights, float], Weights]] = {
    "Gelu": _gelu,
    "HardSwish": lambda x, _: x * _hard_sigmoid(x, 1 / 6),
    "Mish": lambda x, _: x * np.tanh(_softplus(x)),
    "Silu": lambda x, _: x * _sigmoid(x),
}

#: Elementwise activations by their ONNX operators, as functions of the value and alpha. Except for those above and
#: `Neg`, they are monotone, so they can be computed once on the maximum instead of at every position.
ACTIVATIONS: dict[str, Callable[[Weights, float], Weights]] = {
    "Elu": _exponential,
    "HardSigmoid": _hard_sigmoid,
    "Identity": lambda x, _: x,
    "LeakyRelu": lambda x, alpha: np.where(x >= 0, x, alpha * x),
    "Neg": lambda x, _: -x,
    "Relu": lambda x, _: np.maximum(x, 0),
    "Relu6": lambda x, _: np.clip(x, 0, 6),
    "Selu": lambda x, _: 1.0507009873554805 * _exponential(x, 1.6732632423543772),
    "Sigmoid": lambda x, _: _sigmoid(x),
    "Softplus": lambda x, _: _softplus(x),
    "Softsign": lambda x, _: x / (1 + np.abs(x)),
    "Tanh": lambda x, _: np.tanh(x),
    **QUASICONVEX,
}

Pooling = Literal["max", "mean"]

#: The only activation that is not elementwise.
SOFTMAX = "Softmax"


def parse(activation: str) -> tuple[str, float | None]:
    """Return the ONNX operator of an activation, and its `alpha`."""
    operator, _, alpha = activation.rstrip(")").partition("(")
    return operator, float(alpha) if alpha else None


def apply(activations: tuple[str, ...], value: Weights) -> Weights:
    """Apply elementwise activations one after the other."""
    for activation in activations:
        operator, alpha = parse(activation)
        value = ACTIVATIONS[operator](value, alpha or 0.0).astype(value.dtype, copy=False)
    return value


def back(weights: Weights, activations: tuple[str, ...], bias: Weights, sums: Weights) -> tuple[Weights, float]:
    """Turn weights of activated sums into weights of the sums without their bias, and a constant.

    An activation a is replaced by the line through its value at zero and its value at this sum, a(z) = a(0) + s z.
    """
    if not activations:
        return weights, float(weights @ bias)
    if activations == ("Relu",):  # the usual case: a line through zero
        factors: Weights = weights * (sums > 0)
        return factors, float(factors @ bias)
    at_zero = apply(activations, np.zeros_like(sums))
    slopes = np.divide(apply(activations, sums) - at_zero, sums, out=np.zeros_like(sums), where=sums != 0)
    factors = weights * slopes
    return factors, float(factors @ bias + weights @ at_zero)


@dataclass(frozen=True)
class Bank:
    """A bank: the filters of one width, and their pooling over the text."""

    kernel: Weights  # [width, embedding, filters]
    bias: Weights  # [filters]
    activations: tuple[str, ...]  # after the bias, in order
    dilation: int = 1  # distance between the words under a filter
    padding: tuple[int, int] = (0, 0)  # zero vectors before and after the text
    pooling: Pooling = "max"  # of the activations at all positions
    name: str = ""  # of the exported layer

    @property
    def width(self) -> int:
        """The number of words in a window."""
        return int(self.kernel.shape[0])

    @property
    def span(self) -> int:
        """The number of positions from the first word of a window to the last one."""
        return (self.width - 1) * self.dilation + 1

    @property
    def quasiconvex(self) -> bool:
        """Whether the maximum may be the activation of a filter's smallest sum instead of its largest."""
        return self.pooling == "max" and any(parse(activation)[0] in QUASICONVEX for activation in self.activations)

    def windows(self, sums: npt.NDArray[Any], value: Callable[[Positions], Weights]) -> Positions:
        """Return the pooled positions of sums [positions, filters]: [windows, filters].

        The pooled value is the mean of the activated sums at these positions, which `value` computes.
        """
        if self.pooling == "mean":
            return np.broadcast_to(np.arange(len(sums))[:, np.newaxis], sums.shape)
        highest: Positions = sums.argmax(axis=0)[np.newaxis]
        if not self.quasiconvex:
            return highest
        lowest: Positions = sums.argmin(axis=0)[np.newaxis]
        return np.where(value(lowest) > value(highest), lowest, highest)


@dataclass(frozen=True)
class Dense:
    """One dense layer."""

    kernel: Weights  # [inputs, units]
    bias: Weights  # [units]
    activations: tuple[str, ...]  # after the bias, in order

    def sums(self, value: Weights) -> Weights:
        """Return the sums of an input [inputs], before the activations: [units]."""
        sums: Weights = value @ self.kernel + self.bias
        return sums

    def back(self, weights: Weights, sums: Weights) -> tuple[Weights, float]:
        """Turn weights of the activated sums into weights of the inputs, and a constant."""
        factors, constant = back(weights, self.activations, self.bias, sums)
        return self.kernel @ factors, constant


#: The layers after the pooling, in order.
Head = tuple[Dense, ...]


@dataclass(frozen=True)
class Family:
    """A model of the family: an embedding, pooled banks in parallel, and dense layers."""

    max_tokens: int
    embedding: Weights  # [vocabulary, embedding]
    banks: tuple[Bank, ...]
    head: Head
    padding_id: int = 0

    @property
    def outputs(self) -> int:
        """The number of units of the last layer."""
        return int(self.head[-1].kernel.shape[1])

    @property
    def leading_padding(self) -> int:
        """The number of pad ids that are equivalent to any larger number: see `artifact.input_shape`."""
        return max(bank.span for bank in self.banks)
