"""The graph that Keras' own ONNX exporter writes: the reference for parity, and what is served for other models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import onnx
from onnx import TensorProto, helper

from sentiment_conv1d.export.errors import ExportError, quoted


def reference_graph(model: keras.Model, max_tokens: int) -> onnx.ModelProto:
    """Export a model with Keras, under this project's names: tokens int32 [batch, max_tokens] -> probabilities.

    Raises `ExportError` if Keras cannot export the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reference.onnx"
        signature = [keras.InputSpec(shape=(None, max_tokens), dtype=str(model.inputs[0].dtype))]
        try:
            model.export(path, format="onnx", input_signature=signature, verbose=False)
            reference = onnx.load(path)
            _write_erfc(reference.graph)
            # tf2onnx leaves operators that it cannot translate in the graph.
            onnx.checker.check_model(reference)
        except Exception as error:
            # Keras and tf2onnx raise any exception of the failing operator.
            raise ExportError(
                f"Keras cannot export this model to ONNX: {quoted(error)}",
                "replace the operation that the message names with layers that ONNX supports",
            ) from error
    return _named(_pruned(reference))


def _write_erfc(graph: onnx.GraphProto) -> None:
    """Write erfc(x) as 1 - erf(x): Keras' gelu uses erfc, which ONNX lacks and tf2onnx leaves in the graph."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        one, error = f"{node.name}_one", f"{node.name}_erf"
        graph.initializer.append(helper.make_tensor(one, TensorProto.FLOAT, [], [1.0]))
        nodes.append(helper.make_node("Erf", node.input, [error], name=error))
        nodes.append(helper.make_node("Sub", [one, error], node.output, name=node.name))
    _replace(graph.node, nodes)


def _pruned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove nodes and constants that no output needs."""
    graph = model.graph
    needed = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.insert(0, node)
            needed.update(_read(node))
    _replace(graph.node, kept)
    _replace(graph.initializer, [constant for constant in graph.initializer if constant.name in needed])
    _replace(graph.value_info, [])
    return model


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names of the values that a node reads, including those that the body of a loop or branch reads."""
    yield from node.input
    for body in _bodies(node):
        for inner in body.node:
            yield from _read(inner)


def _bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [body for attribute in node.attribute for body in (attribute.g, *attribute.graphs)]


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with the names, types and dimensions of an artifact for its input and output."""
    graph = model.graph
    if len(graph.input) > 1:
        raise ExportError(
            "the model computes with constants that are no weights, such as the mean of a Normalization layer, and "
            "Keras exports them as inputs",
            "replace Normalization with keras.layers.Rescaling(1 / deviation, -mean / deviation), and save it again",
        )
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise ExportError(
            f"the ONNX graph has {len(graph.input)} inputs and {len(graph.output)} outputs; it must have one of each",
            "export a model that reads the ids of one text and returns probabilities",
        )
    given, answer = graph.input[0], graph.output[0]
    columns = given.type.tensor_type.shape.dim[1].dim_value
    outputs = answer.type.tensor_type.shape.dim[1].dim_value
    element = given.type.tensor_type.elem_type
    _rename(graph, answer.name, "probabilities")
    front: list[onnx.NodeProto] = []
    if element == TensorProto.INT32:
        _rename(graph, given.name, "tokens")
    else:
        _rename(graph, given.name, "tokens_cast")
        front = [helper.make_node("Cast", ["tokens"], ["tokens_cast"], name="tokens_cast", to=element)]
    _replace(graph.node, [*front, *graph.node])
    _replace(graph.input, [helper.make_tensor_value_info("tokens", TensorProto.INT32, ["batch", columns])])
    _replace(graph.output, [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", outputs])])
    onnx.checker.check_model(model)
    return model


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        _replace(node.input, [new if name == old else name for name in node.input])
        _replace(node.output, [new if name == old else name for name in node.output])
        for body in _bodies(node):
            _rename(body, old, new)


def _replace(field: Any, values: list[Any]) -> None:
    copies = list(values)
    del field[:]
    field.extend(copies)
