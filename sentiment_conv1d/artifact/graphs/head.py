"""The dense layers after the pooled banks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sentiment_conv1d.artifact.graphs.graph import Graph, UnknownGraph, check_elementwise
from sentiment_conv1d.artifact.layers import SOFTMAX, Dense, Head

#: Operators that turn logits into probabilities.
_FINAL = ("Sigmoid", SOFTMAX)

#: A pooled bank in a graph: the name of a value float32 [batch, filters], and the activations after it.
Pooled = tuple[str, tuple[str, ...]]


def write_head(graph: Graph, pooled: Sequence[str], head: Head) -> None:
    """Concatenate the pooled banks, each [batch, filters], and add the dense layers, which compute the output."""
    value = pooled[0] if len(pooled) == 1 else graph.node("Concat", pooled, "features", axis=1)
    for number, dense in enumerate(head):
        name = f"dense_{number}"
        inputs = [value, graph.constant(f"{name}_kernel", dense.kernel)]
        if dense.bias.any():
            inputs.append(graph.constant(f"{name}_bias", dense.bias))
        value = graph.activations(dense.activations, graph.node("Gemm", inputs, name), name)
    graph.nodes["probabilities"] = graph.nodes.pop(value)


def read_head(graph: Graph) -> tuple[list[Pooled], Head, str]:
    """Return the pooled banks, the dense layers, of which the last computes the logits, and the operator after them.

    Raises `UnknownGraph`.
    """
    value, activations = graph.before_activations("probabilities")
    if not activations or activations[-1] not in _FINAL:
        raise UnknownGraph
    final, activations = activations[-1], activations[:-1]
    head: list[Dense] = []
    while graph.operator(value) == "Gemm":
        value, dense = _read_dense(graph, value, activations)
        head.insert(0, dense)
        value, activations = graph.before_activations(value)
    if not head or head[-1].activations:
        raise UnknownGraph
    if graph.operator(value) != "Concat":
        return [(value, activations)], tuple(head), final
    if activations:
        raise UnknownGraph
    return [graph.before_activations(each) for each in graph.inputs(value, "Concat")], tuple(head), final


def _read_dense(graph: Graph, value: str, activations: tuple[str, ...]) -> tuple[str, Dense]:
    if graph.nodes[value].attributes:
        raise UnknownGraph
    check_elementwise(activations)
    inputs, kernel_name, *bias_name = graph.inputs(value, "Gemm")
    kernel = graph.weights(kernel_name)
    bias = graph.weights(bias_name[0]) if bias_name else np.zeros(kernel.shape[1], np.float32)
    return inputs, Dense(kernel, bias, activations)
