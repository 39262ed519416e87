"""Replaces the folded convolutions of a model in memory by the operator in `native`. The file stays as it is.

One node of the operator does the look-ups, sums and pooling of a bank. The rest of the graph stays: tables, activations
after the pooling, and dense layers. An activation before an average, other than relu, also stays, so the operator then
computes only the feature map.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.artifact.graphs.feature_map import read_feature_map
from sentiment_conv1d.artifact.graphs.folded import WINDOW
from sentiment_conv1d.artifact.graphs.graph import Graph, Node, UnknownGraph
from sentiment_conv1d.inference.graph_file import read_graph

_OPERATOR = "FoldedConvolution"
_DOMAIN = "com.sentiment_conv1d"

#: The values of the operator's attribute `pooling`, in the order of the C++ code.
MAXIMUM, NEGATED_MAXIMUM, TOTAL, RELU_TOTAL, MAP = range(5)

#: The attributes of the poolings that `folded` and `quantized` write: of the windows, and of all windows.
_WINDOWS = {
    "MaxPool": {"kernel_shape": [WINDOW, 1], "strides": [WINDOW, 1], "ceil_mode": 1},
    "NhwcMaxPool": {"kernel_shape": [1, WINDOW], "strides": [1, WINDOW], "ceil_mode": 1},
}
_ALL: dict[str, Any] = {"axes": [0, 2], "keepdims": 0}

#: `AttributeProto.AttributeType.INT`.
_INT = 2


def rewrite(model: onnx.Model) -> bool:
    """Use the operator wherever it computes the same value. Return whether there is such a value."""
    graph = read_graph(model, (np.int32, np.int64))
    fused = {} if graph is None or _has_subgraphs(model.graph) else _fuse(graph)
    if not fused:
        return False
    for node in model.graph.node:
        if len(node.output) == 1 and node.output[0] in fused:
            node.CopyFrom(_message(fused[node.output[0]]))
    _remove_unused(model.graph)
    model.opset_import.add(domain=_DOMAIN, version=1)
    return True


def pads_freely(model: onnx.Model) -> bool:
    """Return whether a graph computes nothing for each id but pooled sums, for which the operator skips the padding."""
    return all(
        node.op_type == "Shape" or (node.op_type == _OPERATOR and _pooling(node) != MAP)
        for node in model.graph.node
        if "tokens" in node.input
    )


def _pooling(node: onnx.Node) -> int:
    return next(attribute.i for attribute in node.attribute if attribute.name == "pooling")


def _fuse(graph: Graph) -> dict[str, Node]:
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
    return Node(value, _OPERATOR, ["tokens", *read.tables], attributes | {"pooling": pooling})


def _has_subgraphs(graph: onnx.Graph) -> bool:
    """Whether a node, such as a loop, contains nodes, which can read any value of the graph."""
    attributes = (attribute for node in graph.node for attribute in node.attribute)
    return any(attribute.HasField("g") or attribute.graphs for attribute in attributes)


def _message(node: Node) -> onnx.Node:
    """Return a node of a graph as a part of a model."""
    attributes = [onnx.Attribute(name=name, i=value, type=_INT) for name, value in node.attributes.items()]
    name = node.name
    return onnx.Node(
        name=name, op_type=node.operator, domain=_DOMAIN, input=node.inputs, output=[name], attribute=attributes
    )


def _remove_unused(graph: onnx.Graph) -> None:
    """Remove the nodes and constants that the output does not depend on. The nodes are in topological order."""
    needed = {"probabilities"}
    for index in reversed(range(len(graph.node))):
        if needed.isdisjoint(graph.node[index].output):
            del graph.node[index]
        else:
            needed.update(graph.node[index].input)
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in needed:
            del graph.initializer[index]
