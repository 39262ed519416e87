"""Fuses the look-ups, sums and pooling of a bank into one node, for the operator in `native`.

The rest of the graph stays: tables, activations after the pooling, and dense layers. An activation before an average,
other than relu, also stays, so the operator then computes only the feature map.
"""

from __future__ import annotations

from typing import Any

from sentiment_conv1d.model.graphs.feature_map import read_feature_map
from sentiment_conv1d.model.graphs.folded import WINDOW
from sentiment_conv1d.model.graphs.graph import Graph, Node, UnknownGraph

OPERATOR = "FoldedConvolution"
DOMAIN = "com.sentiment_conv1d"

#: The values of the operator's attribute `pooling`, in the order of the C++ code.
MAXIMUM, NEGATED_MAXIMUM, TOTAL, RELU_TOTAL, MAP = range(5)

#: The attributes of the poolings that `folded` and `quantized` write: of the windows, and of all windows.
_WINDOWS = {
    "MaxPool": {"kernel_shape": [WINDOW, 1], "strides": [WINDOW, 1], "ceil_mode": 1},
    "NhwcMaxPool": {"kernel_shape": [1, WINDOW], "strides": [1, WINDOW], "ceil_mode": 1},
}
_ALL: dict[str, Any] = {"axes": [0, 2], "keepdims": 0}


def fuse(graph: Graph) -> dict[str, Node]:
    """Return a node of the operator for every value of the graph that it can compute, by the name of the value."""
    fused = {}
    for value, node in graph.nodes.items():
        try:
            if node.operator == "ReduceMax":
                fused[value] = _fuse_maximum(graph, value)
            elif node.operator == "ReduceSum":
                fused |= _fuse_total(graph, value)
        except UnknownGraph:
            pass
    return fused


def _fuse_maximum(graph: Graph, value: str) -> Node:
    node = graph.nodes[value]
    maxima, *_ = node.inputs
    operator = graph.operator(maxima)
    if node.attributes != _ALL or operator not in _WINDOWS or graph.nodes[maxima].attributes != _WINDOWS[operator]:
        raise UnknownGraph
    feature_map = graph.before(maxima, operator)
    if graph.operator(feature_map) == "Neg":
        return _node(graph, value, graph.before(feature_map, "Neg"), NEGATED_MAXIMUM)
    return _node(graph, value, feature_map, MAXIMUM)


def _fuse_total(graph: Graph, value: str) -> dict[str, Node]:
    node = graph.nodes[value]
    activated, *axes = node.inputs
    if node.attributes != {"keepdims": 0} or [graph.integers(each) for each in axes] != [[0, 2]]:
        raise UnknownGraph
    feature_map, activations = graph.before_activations(activated)
    pooling = {(): TOTAL, ("Relu",): RELU_TOTAL}.get(activations)
    if pooling is None:
        return {feature_map: _node(graph, feature_map, feature_map, MAP)}
    return {value: _node(graph, value, feature_map, pooling)}


def _node(graph: Graph, value: str, feature_map: str, pooling: int) -> Node:
    read = read_feature_map(graph, feature_map)
    before, behind = read.padding
    attributes = {"dilation": read.dilation, "before": before, "behind": behind, "outside": read.outside}
    return Node(value, OPERATOR, ["tokens", *read.tables], attributes | {"pooling": pooling})
