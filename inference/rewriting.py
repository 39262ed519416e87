"""Replaces the folded convolutions of a model in memory by the native operator. The file stays as it is."""

from __future__ import annotations

import numpy as np

from sentiment_conv1d.inference.graph_file import read_graph
from sentiment_conv1d.model.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.model.graphs.fused import DOMAIN, MAP, OPERATOR, fuse
from sentiment_conv1d.model.graphs.graph import Node

#: `AttributeProto.AttributeType.INT`.
_INT = 2


def rewrite(model: onnx.Model) -> bool:
    """Use the operator wherever it computes the same value. Return whether there is such a value."""
    graph = read_graph(model, (np.int32, np.int64))
    fused = {} if graph is None or _has_subgraphs(model.graph) else fuse(graph)
    if not fused:
        return False
    for node in model.graph.node:
        if len(node.output) == 1 and node.output[0] in fused:
            node.CopyFrom(_node(fused[node.output[0]]))
    _remove_unused(model.graph)
    model.opset_import.add(domain=DOMAIN, version=1)
    return True


def pads_freely(model: onnx.Model) -> bool:
    """Return whether a graph computes nothing for each id but pooled sums, for which the operator skips the padding."""
    return all(
        node.op_type == "Shape" or (node.op_type == OPERATOR and _pooling(node) != MAP)
        for node in model.graph.node
        if "tokens" in node.input
    )


def _pooling(node: onnx.Node) -> int:
    return next(attribute.i for attribute in node.attribute if attribute.name == "pooling")


def _has_subgraphs(graph: onnx.Graph) -> bool:
    """Whether a node, such as a loop, contains nodes, which can read any value of the graph."""
    attributes = (attribute for node in graph.node for attribute in node.attribute)
    return any(attribute.HasField("g") or attribute.graphs for attribute in attributes)


def _node(node: Node) -> onnx.Node:
    attributes = [onnx.Attribute(name=name, i=value, type=_INT) for name, value in node.attributes.items()]
    name = node.name
    return onnx.Node(
        name=name, op_type=node.operator, domain=DOMAIN, input=node.inputs, output=[name], attribute=attributes
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
