"""Reads the network of a `model.onnx`."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from sentiment_conv1d.model.explaining.network import Network
from sentiment_conv1d.model.graphs import network
from sentiment_conv1d.model.graphs.graph import FUNCTION_DOMAIN, Graph
from sentiment_conv1d.service.inference.graph_file import GraphFileError, parse

#: NumPy's types of the values of `TensorProto.DataType` that a folded graph contains.
_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 2: np.dtype("u1"), 7: np.dtype("<i8")}


def read_network(content: bytes) -> Network | None:
    """Return the network of a `model.onnx`, or None if the graph is not a folded network."""
    try:
        model = parse(content)
    except GraphFileError:
        return None
    if any(function.domain != FUNCTION_DOMAIN for function in model.functions):
        return None  # they can give the name of an operator another meaning
    parsed = model.graph
    graph = Graph()
    for node in parsed.node:
        attributes = {attribute.name: attribute.f for attribute in node.attribute}
        for output in node.output:
            graph.node(node.op_type, node.input, output, **attributes)
    for tensor in parsed.initializer:
        dtype, values = _TYPES.get(tensor.data_type), tensor.raw_data
        if dtype is not None and len(values) == prod(tensor.dims) * dtype.itemsize:
            graph.constant(tensor.name, np.frombuffer(values, dtype).reshape(tensor.dims))
    return network.read_network(graph)
