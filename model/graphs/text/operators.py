"""Raises the version of ONNX's operators in a file to the first one with operators on strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from sentiment_conv1d.model.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.model.graphs.text.characters import TextGraphError
from sentiment_conv1d.model.graphs.text.writer import PREFIX, Writer, attribute

#: The first version with `StringConcat`, and that of the file format that belongs to it.
_STRING_OPERATORS, _FILE_FORMAT = 20, 9

#: From this version on, some attributes are inputs, or required.
_FEWER_ATTRIBUTES = 18

#: The oldest version that can be raised, and operators that later versions changed.
_OLDEST, _CHANGED = 13, frozenset({"DFT", "GridSample", "Resize"})


def allow_strings(model: onnx.Model) -> None:
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
