"""Inspects ONNX graphs, for tests."""

import hashlib

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import numpy_helper

from sentiment_conv1d.model.evaluation.batches import Ids, Outputs

#: Name, type and shape of an input or an output; a free dimension is a name.
Value = tuple[str, str, list[str | int]]


def dead_nodes(model: onnx.ModelProto) -> list[str]:
    """Return the nodes whose outputs no node reads, including those in loops and branches."""
    read = {value.name for value in model.graph.output}
    nodes = all_nodes(model.graph)
    for node in nodes:
        read.update(node.input)
        for body in bodies(node):
            read.update(value.name for value in body.output)
    return [node.name for node in nodes if not read.intersection(node.output)]


def idle_constants(model: onnx.ModelProto) -> list[str]:
    """Return the initializers that no node reads."""
    read = {name for node in all_nodes(model.graph) for name in node.input}
    return [constant.name for constant in model.graph.initializer if constant.name not in read]


def repeated_constants(model: onnx.ModelProto) -> list[str]:
    """Return the initializers that share their name or content with another one."""
    seen: set[object] = set()
    repeated = []
    for constant in model.graph.initializer:
        array = numpy_helper.to_array(constant)
        content = (array.shape, array.dtype.str, hashlib.sha256(array.tobytes()).hexdigest())
        if {constant.name, content} & seen:
            repeated.append(constant.name)
        seen |= {constant.name, content}
    return repeated


def all_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return all nodes, including those in loops and branches."""
    nodes = list(graph.node)
    for node in graph.node:
        for body in bodies(node):
            nodes += all_nodes(body)
    return nodes


def bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs inside a node."""
    return [body for attribute in node.attribute for body in (attribute.g, *attribute.graphs)]


def contract(model: onnx.ModelProto) -> tuple[list[Value], list[Value]]:
    """Return all inputs and outputs as ONNX Runtime reports them."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return (
        [(value.name, value.type, value.shape) for value in session.get_inputs()],
        [(value.name, value.type, value.shape) for value in session.get_outputs()],
    )


def answers(model: onnx.ModelProto, tokens: Ids) -> Outputs:
    """Run a graph with ONNX Runtime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: Outputs = session.run(["probabilities"], {"tokens": tokens})[0]
    return result


def random_ids(rows: int, sequence_length: int, vocabulary: int) -> npt.NDArray[np.int32]:
    """Return random ids, which are the same for the same shape."""
    return np.random.default_rng(3).integers(0, vocabulary, (rows, sequence_length), dtype=np.int32)
