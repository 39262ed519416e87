"""Puts the nodes that read texts in front of the graph of an artifact."""

from __future__ import annotations

from collections.abc import Iterable

from sentiment_conv1d.model.artifact import Artifact
from sentiment_conv1d.model.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.model.graphs.text.answer import write_answer
from sentiment_conv1d.model.graphs.text.ids import write_ids
from sentiment_conv1d.model.graphs.text.operators import allow_strings
from sentiment_conv1d.model.graphs.text.pieces import write_pieces
from sentiment_conv1d.model.graphs.text.writer import (
    FLOAT,
    MACHINE_LEARNING,
    MICROSOFT,
    PREFIX,
    STRING,
    Writer,
    declared,
)

#: The names of the input and of the outputs.
TEXT, LABEL, PROBABILITIES = "text", "label", "probabilities"

#: The first versions of the operators that look up strings, and that split texts.
_VERSIONS = {MACHINE_LEARNING: 2, MICROSOFT: 1}


def text_graph(artifact: Artifact) -> bytes:
    """Return the content of `text.onnx` for an artifact.

    The input is `text`, string [batch]. The outputs are `label`, string [batch], and `probabilities`, float32
    [batch, labels]. Raises `TextGraphError` if ONNX Runtime's operators cannot read texts as the tokenizer does.
    """
    front, back = onnx.Graph(), onnx.Graph()
    writer = Writer(front)
    ids = write_pieces(writer, TEXT, artifact.tokenizer)
    tokens = write_ids(writer, ids, artifact.tokenizer, artifact.input_shape)
    output = f"{PREFIX}model_output"
    answer = write_answer(Writer(back, f"{PREFIX}answer/"), output, artifact.manifest)
    for value, name in zip(answer, (LABEL, PROBABILITIES), strict=True):
        back.node.add(op_type="Identity", name=name, input=[value], output=[name])
    model = onnx.Model.FromString(artifact.graph)
    if any(node.op_type in ("If", "Loop") for node in front.node):
        allow_strings(model)
    _rename(model.graph.node, {"tokens": tokens, "probabilities": output})
    _put_around(model, front, back)
    labels = len(artifact.manifest.labels)
    _declare(model.graph, declared(LABEL, STRING, "batch"), declared(PROBABILITIES, FLOAT, "batch", labels))
    return model.SerializeToString(deterministic=True)


def _rename(nodes: Iterable[onnx.Node], names: dict[str, str]) -> None:
    """Rename values, also where the body of a loop or branch reads them."""
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                _rename(body.node, names)


def _put_around(model: onnx.Model, front: onnx.Graph, back: onnx.Graph) -> None:
    nodes = [*front.node, *model.graph.node, *back.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([*front.initializer, *back.initializer])
    imported = {each.domain for each in model.opset_import}
    for domain, version in _VERSIONS.items():
        if domain not in imported:
            model.opset_import.add(domain=domain, version=version)


def _declare(graph: onnx.Graph, *outputs: onnx.Value) -> None:
    del graph.input[:], graph.output[:]
    graph.input.append(declared(TEXT, STRING, "batch"))
    graph.output.extend(outputs)
