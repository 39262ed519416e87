"""Puts the nodes that read texts in front of the graph of an artifact, and those that name the label behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.artifact.graphs.text.characters import TextGraphError
from sentiment_conv1d.artifact.graphs.text.ids import write_ids
from sentiment_conv1d.artifact.graphs.text.pieces import write_pieces
from sentiment_conv1d.artifact.graphs.text.writer import (
    BOOL,
    DOUBLE,
    FLOAT,
    INT64,
    MACHINE_LEARNING,
    MICROSOFT,
    PREFIX,
    STRING,
    Writer,
    attribute,
    declared,
)
from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer

#: The names of the input and of the outputs. A model that gives a text several labels has the last one.
TEXT, LABEL, PROBABILITIES, HAS_LABEL = "text", "label", "probabilities", "has_label"

#: The first versions of the operators that look up strings, and that split texts.
_VERSIONS = {MACHINE_LEARNING: 2, MICROSOFT: 1}

#: The first version with `StringConcat`, and that of the file format that belongs to it.
_STRING_OPERATORS, _FILE_FORMAT = 20, 9

#: From this version on, some attributes are inputs, or required.
_FEWER_ATTRIBUTES = 18

#: The oldest version that can be raised, and operators that later versions changed.
_OLDEST, _CHANGED = 13, frozenset({"DFT", "GridSample", "Resize"})


def text_graph(artifact: Artifact) -> bytes:
    """Return the content of `text.onnx` for an artifact.

    The input is `text`, string [batch]. The outputs are `label`, string [batch], and `probabilities`, float32
    [batch, labels]. For a model that gives a text several labels, `has_label`, bool [batch, labels], says which
    probabilities reach their thresholds. Raises `TextGraphError` if ONNX Runtime's operators cannot read texts as the
    tokenizer does.
    """
    tokenizer = artifact.tokenizer
    if not isinstance(tokenizer, VocabularyTokenizer):
        raise TextGraphError("text.onnx cannot contain this tokenizer, which the library `tokenizers` runs")
    front, back = onnx.Graph(), onnx.Graph()
    writer = Writer(front)
    ids = write_pieces(writer, TEXT, tokenizer)
    tokens = write_ids(writer, ids, tokenizer, artifact.input_shape)
    output = f"{PREFIX}model_output"
    writer, manifest = Writer(back, f"{PREFIX}answer/"), artifact.manifest
    answer = dict(zip((LABEL, PROBABILITIES), _write_answer(writer, output, manifest), strict=True))
    labels = len(manifest.labels)
    outputs = [declared(LABEL, STRING, "batch"), declared(PROBABILITIES, FLOAT, "batch", labels)]
    if manifest.multilabel:
        answer[HAS_LABEL] = _write_has_label(writer, output, manifest)
        outputs.append(declared(HAS_LABEL, BOOL, "batch", labels))
    for name, value in answer.items():
        back.node.add(op_type="Identity", name=name, input=[value], output=[name])
    model = onnx.Model.FromString(artifact.graph)
    if any(node.op_type in ("If", "Loop") for node in front.node):
        _allow_strings(model)
    _rename(model.graph.node, {"tokens": tokens, "probabilities": output})
    _put_around(model, front, back)
    _declare(model.graph, *outputs)
    return model.SerializeToString(deterministic=True)


def _write_answer(writer: Writer, output: str, manifest: Manifest) -> tuple[str, str]:
    """Return the names of the labels string [batch] that the model decides for, and of all probabilities.

    The probabilities are float32 [batch, labels]. `output` is that of the model, float32 [batch, 1] for a single
    sigmoid or [batch, labels] for others.
    """
    labels = writer.strings(manifest.labels, [len(manifest.labels)], "labels")
    if manifest.outputs > 1:
        index = writer.node("ArgMax", [output], "index", axis=1, keepdims=0)
        return writer.node("Gather", [labels, index], "label"), output
    other = writer.node("Sub", [np.float32(1), output], "other")
    probabilities = writer.node("Concat", [other, output], "probabilities", axis=1)
    # `artifact.decision` compares float64 numbers.
    second = writer.node("Cast", [output], "exact", to=DOUBLE)
    second = writer.node("Squeeze", [second, np.array([1])], "second")
    second = writer.node("GreaterOrEqual", [second, np.float64(manifest.decision.threshold)], "decides")
    second = writer.node("Cast", [second], "index", to=INT64)
    return writer.node("Gather", [labels, second], "label"), probabilities


def _write_has_label(writer: Writer, output: str, manifest: Manifest) -> str:
    """Return the name of bool [batch, labels]: whether each probability reaches the threshold of its label."""
    exact = writer.node("Cast", [output], "exact", to=DOUBLE)
    thresholds = np.array(manifest.decision.each_threshold(manifest.labels), np.float64)
    return writer.node("GreaterOrEqual", [exact, thresholds], "reached")


def _allow_strings(model: onnx.Model) -> None:
    """Raise the version of the operators if it has none on strings yet, and keep what every node computes.

    Raises `TextGraphError` if a node would compute something else.
    """
    lists = [model.opset_import, *(function.opset_import for function in model.functions)]
    imported = [each for some in lists for each in some if not each.domain and each.version < _STRING_OPERATORS]
    nodes = [*_all(model.graph.node), *(node for function in model.functions for node in function.node)]
    changed = {node.op_type for node in nodes} & _CHANGED
    if imported and (changed or min(each.version for each in imported) < _OLDEST):
        raise TextGraphError(
            f"text.onnx needs version {_STRING_OPERATORS} of ONNX's operators for this tokenizer, and the graph has "
            f"version {imported[0].version}{''.join(f' of {each}' for each in sorted(changed))}"
        )
    if any(each.version < _FEWER_ATTRIBUTES for each in imported):
        _raise_attributes(Writer(model.graph, f"{PREFIX}axes/"), nodes)
    for each in imported:
        each.version = _STRING_OPERATORS
    model.ir_version = max(model.ir_version, _FILE_FORMAT)


def _all(nodes: Iterable[onnx.Node]) -> Iterator[onnx.Node]:
    """Yield nodes, and those in the bodies of loops and branches."""
    for node in nodes:
        yield node
        for each in node.attribute:
            for body in (each.g, *each.graphs):
                yield from _all(body.node)


def _raise_attributes(writer: Writer, nodes: Iterable[onnx.Node]) -> None:
    """Turn the axes of reductions into inputs, and state the number of outputs of splits into equal parts."""
    for node in nodes:
        if node.op_type == "Split" and len(node.input) == 1:
            node.attribute.append(attribute("num_outputs", len(node.output)))
        axes = [each for each in node.attribute if each.name == "axes"]
        if node.op_type.startswith("Reduce") and axes:
            node.input.append(writer.constant(np.array(axes[0].ints, np.int64)))
            node.attribute.remove(axes[0])


def _rename(nodes: Iterable[onnx.Node], names: dict[str, str]) -> None:
    """Rename values, also where the body of a loop or branch reads them."""
    for node in _all(nodes):
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


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
