"""Parses `model.onnx`, checks that it refers to no other file, and reads its nodes and constants, or its network."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import prod
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message

from sentiment_conv1d.artifact.explaining.network import Network
from sentiment_conv1d.artifact.graphs import network
from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.artifact.graphs.graph import FUNCTION_DOMAIN, Graph

#: NumPy's types of the values of `TensorProto.DataType` that a folded graph contains.
_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 2: np.dtype("u1"), 6: np.dtype("<i4"), 7: np.dtype("<i8")}
_DTYPES = tuple(each.type for each in _TYPES.values())


class GraphFileError(Exception):
    """The file is not an ONNX model, or refers to another file."""


def parse(content: bytes) -> onnx.Model:
    """Return the part of an ONNX model that `onnx_subset.proto` describes. Raises `GraphFileError`."""
    try:
        return onnx.Model.FromString(content)
    except DecodeError as error:
        raise GraphFileError(f"it is not an ONNX model ({error})") from error


def parse_self_contained(content: bytes) -> onnx.Model:
    """Like `parse`, but raise `GraphFileError` if a tensor's data are in another file, which has no digest.

    ONNX Runtime would look for such a file in the current directory, and the answers would reveal its bytes.
    """
    model = parse(content)
    for tensor in _tensors(model):
        if tensor.external_data or any(tensor.data_location):
            locations = (each.value for each in tensor.external_data if each.key == "location")
            raise GraphFileError(
                f"the data of tensor {tensor.name!r} are in {next(locations, 'an unknown location')!r}: "
                "a graph must contain all of its data"
            )
    return model


def read_graph(model: onnx.Model, dtypes: Collection[type] = _DTYPES) -> Graph | None:
    """Return the nodes of a model, and its constants of some types.

    Return None if the model defines functions, other than for activations, which can give an operator another meaning.
    """
    if any(function.domain != FUNCTION_DOMAIN for function in model.functions):
        return None
    graph = Graph()
    for node in model.graph.node:
        attributes = {attribute.name: _value(attribute) for attribute in node.attribute}
        for output in node.output:
            graph.node(node.op_type, list(node.input), output, **attributes)
    for tensor in model.graph.initializer:
        dtype = _TYPES.get(tensor.data_type)
        if dtype is None or dtype.type not in dtypes:
            continue
        values = tensor.raw_data
        if len(values) == prod(tensor.dims) * dtype.itemsize:
            graph.constant(tensor.name, np.frombuffer(values, dtype).reshape(tensor.dims))
    return graph


def read_network(content: bytes) -> Network | None:
    """Return the network of a `model.onnx`, or None if the graph is not a folded network."""
    try:
        graph = read_graph(parse(content))
    except GraphFileError:
        return None
    return None if graph is None else network.read_network(graph)


def _value(attribute: onnx.Attribute) -> float | int | list[int] | None:
    """Return a number or a list of integers, and None for a value of another type."""
    match attribute.type:
        case 1:
            return attribute.f
        case 2:
            return attribute.i
        case 7:
            return list(attribute.ints)
    return None


def _tensors(message: Message) -> Iterator[onnx.Tensor]:
    """Yield every tensor in a message: also those in attributes, subgraphs, functions and sparse tensors."""
    if isinstance(message, onnx.Tensor):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from _tensors(each)
