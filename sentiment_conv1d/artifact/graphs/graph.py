"""ONNX graphs as plain nodes and constants. Writing and reading them needs no library of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.layers import ACTIVATIONS, SOFTMAX, Weights, parse

#: The domain of the functions in a graph that stand for activations without an ONNX operator.
FUNCTION_DOMAIN = "sentiment_conv1d"


class UnknownGraph(Exception):
    """The graph contains something that this package does not write."""


@dataclass(frozen=True)
class Node:
    """A name, an operator, the names of its inputs, and its attributes."""

    name: str
    operator: str
    inputs: Sequence[str]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """Nodes by the names of their outputs, and constants by their names, in order of use.

    The input is `tokens`, int32 [batch, sequence_length]; both dimensions are dynamic. The output is `probabilities`,
    float32 [batch, outputs]. Methods that read raise `UnknownGraph`.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def constant(self, name: str, value: npt.NDArray[Any] | np.generic) -> str:
        """Add a constant and return its name. If the name exists, its first value stays."""
        self.constants.setdefault(name, np.asarray(value))
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        """Add a node, named after its output, and return the name."""
        self.nodes[output] = Node(output, operator, inputs, attributes)
        return output

    def activations(self, activations: Sequence[str], value: str, name: str) -> str:
        """Add activations, in the notation of `artifact.layers`, one after the other, and return the output's name."""
        for activation in activations:
            operator, alpha = parse(activation)
            attributes: dict[str, Any] = {} if alpha is None else {"alpha": alpha}
            if operator == SOFTMAX:
                attributes["axis"] = -1
            name = f"{name}_{operator.lower()}"
            value = self.node(operator, [value], name, **attributes)
        return value

    def operator(self, value: str) -> str:
        """Return the operator that computes a value, and an empty string for an input or a constant."""
        return self.nodes[value].operator if value in self.nodes else ""

    def inputs(self, value: str, operator: str) -> Sequence[str]:
        """Return the inputs of the node that computes a value, which must have this operator."""
        if self.operator(value) != operator:
            raise UnknownGraph
        return self.nodes[value].inputs

    def before(self, value: str, *operators: str) -> str:
        """Return the value before a chain of operators, last to first, along their first inputs."""
        for operator in operators:
            value = self.inputs(value, operator)[0]
        return value

    def before_activations(self, value: str) -> tuple[str, tuple[str, ...]]:
        """Return the value before the activations that compute a value, and these activations in order."""
        activations: list[str] = []
        while (operator := self.operator(value)) in (*ACTIVATIONS, SOFTMAX):
            alpha = self.nodes[value].attributes.get("alpha")
            activations.insert(0, operator if alpha is None else f"{operator}({alpha})")
            value = self.nodes[value].inputs[0]
        return value, tuple(activations)

    def weights(self, name: str) -> Weights:
        """Return a constant of type float32."""
        return self._read(name, np.float32)

    def entries(self, name: str) -> npt.NDArray[np.uint8]:
        """Return a constant of type uint8."""
        return self._read(name, np.uint8)

    def integers(self, name: str) -> list[int]:
        """Return a constant of type int64."""
        integers: list[int] = self._read(name, np.int64).tolist()
        return integers

    def id(self, name: str) -> int:
        """Return a constant of type int32 without dimensions."""
        value = self._read(name, np.int32)
        if value.ndim:
            raise UnknownGraph
        return int(value)

    def _read(self, name: str, dtype: type) -> npt.NDArray[Any]:
        if name not in self.constants or self.constants[name].dtype != dtype:
            raise UnknownGraph
        return self.constants[name]


def check_elementwise(activations: Sequence[str]) -> None:
    """Raise `UnknownGraph` if an activation, such as a softmax, reads several values."""
    if not all(parse(activation)[0] in ACTIVATIONS for activation in activations):
        raise UnknownGraph
