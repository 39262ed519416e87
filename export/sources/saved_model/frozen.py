"""A SavedModel as one graph of TensorFlow's operators, in which the variables are constants."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow
from tensorflow.python.eager.wrap_function import function_from_graph_def  # has no public name
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # has no public name

from sentiment_conv1d.export.sources.casting import block_diagonal

#: Operators that return their first input after training.
_IDLE = ("Identity", "StopGradient", "PreventGradient")

#: The attribute of functions that XLA compiles, such as a convolution with groups of Keras, the attributes of functions
#: whose operators do not replace their calls, and the end of the names of their copies.
_COMPILED = "_XlaMustCompile"
_CALLED = (_COMPILED, "_noinline")
_INLINED = "_inlined"


@dataclass(frozen=True)
class Frozen:
    """A graph with one input and one output. Its tensors and operators are those of a function of TensorFlow."""

    function: Any
    tables: Mapping[str, Any]  # the handle of each look-up table, by the name of its tensor in the graph

    @property
    def input(self) -> Any:
        """The tensor that the graph reads."""
        return self.function.inputs[0]

    @property
    def output(self) -> Any:
        """The tensor that the graph returns, without operators that do nothing."""
        return skip_idle(self.function.outputs[0])

    def part(self, start: Any, end: Any) -> Any:
        """Return the function from one tensor to another."""
        read = {op.name for op in operators(end, (start.op,))}
        handles = [each for each in self.function.inputs if each.name in self.tables and each.op.name in read]
        pruned = self.function.prune([start, *handles], end)
        return lambda value: pruned(value, *(self.tables[each.name] for each in handles))

    def constant(self, tensor: Any) -> npt.NDArray[Any] | None:
        """Return the value of a tensor; None if it depends on an input."""
        if any(op.type == "Placeholder" for op in operators(tensor)):
            return None
        return np.asarray(self.function.prune([], tensor)())


def freeze(signature: Any) -> Frozen:
    """Return the graph of a signature, without the order in which operators must run.

    An operator that waits for another one, such as a constant for the text, would be a part of every path.
    """
    tables = {tensor.name: handle for handle, tensor in signature.graph.captures}
    frozen = convert_variables_to_constants_v2(signature, lower_control_flow=False)
    graph = frozen.graph.as_graph_def()
    has_groups = _let_inline(graph)
    if has_groups:
        frozen = convert_variables_to_constants_v2(_function(graph, frozen), lower_control_flow=False)
        graph = frozen.graph.as_graph_def()
    for node in graph.node:
        read = [name for name in node.input if not name.startswith("^")]
        del node.input[:]
        node.input.extend(read)
    found = Frozen(_function(graph, frozen), tables)
    if has_groups:
        _remove_groups(graph, found)
        found = Frozen(_function(graph, frozen), tables)
    return found


def _function(graph: Any, frozen: Any) -> Any:
    """Return a graph as a function with the inputs and outputs of another function."""
    inputs, outputs = ([tensor.name for tensor in ends] for ends in (frozen.inputs, frozen.outputs))
    return function_from_graph_def(graph, inputs, outputs)


def _let_inline(graph: Any) -> bool:
    """Let the operators of compiled functions replace their calls. Returns whether there are such calls.

    The functions get other names, because TensorFlow has those with these names already.
    """
    calls = [node for node in graph.node if _COMPILED in node.attr]
    called = {node.attr["f"].func.name for node in calls}
    functions = [each for each in graph.library.function if each.signature.name in called]
    for function in functions:
        inlined = graph.library.function.add()
        inlined.CopyFrom(function)
        inlined.signature.name += _INLINED
        for name in _CALLED:
            inlined.attr.pop(name, None)
    for node in calls:
        node.attr["f"].func.name += _INLINED
        node.attr.pop(_COMPILED)
    return bool(calls)


def _remove_groups(graph: Any, frozen: Frozen) -> None:
    """Give each convolution with groups, which only XLA computes, a kernel that is zero between the groups."""
    for node in [each for each in graph.node if each.op == "Conv2D"]:
        inputs, kernel = frozen.function.graph.get_operation_by_name(node.name).inputs
        channels, own = inputs.shape[-1], frozen.constant(kernel)
        if channels is None or own is None or own.shape[2] == channels:
            continue
        whole = block_diagonal(own, (*own.shape[:2], channels, own.shape[3]))
        constant = graph.node.add(name=f"{node.name}/without_groups", op="Const")
        constant.attr["dtype"].type = kernel.dtype.as_datatype_enum
        constant.attr["value"].tensor.CopyFrom(tensorflow.make_tensor_proto(whole))
        node.input[1] = constant.name


def skip_idle(tensor: Any) -> Any:
    """Return the tensor before operators that do nothing."""
    while tensor.op.type in _IDLE:
        tensor = tensor.op.inputs[0]
    return tensor


def operators(tensor: Any, ends: Collection[Any] = ()) -> Iterator[Any]:
    """Yield the operators from which a tensor is computed, without going beyond those in `ends`."""
    waiting, seen = [tensor.op], {each.name for each in ends}
    while waiting:
        op = waiting.pop()
        if op.name not in seen:
            seen.add(op.name)
            yield op
            waiting += [each.op for each in op.inputs]
