"""The graph that is served for the Conv1D family: convolution as table look-ups.

A filter bank `W` of width w straight after an embedding `E` computes at position t

    sum over k < w of  E[x[t+k]] . W[k]

and `E . W[k]` does not depend on the text. So each tap k becomes a table `T[k] = E . W[k]` [vocabulary, filters], and
the feature map is `T[0][x[t]] + ... + T[w-1][x[t+w-1]]`: w look-ups, no multiplication. Bias and a monotone
activation commute with the maximum and run once on the pooled values. The tables are written as MatMul of the two
constants, which ONNX Runtime computes when a session starts, so the file stays as small as the weights.

Both dimensions of the input are free: see `model.padding.padded_length` for what a short review needs in front.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.family import ACTIVATIONS, Bank, Dense, Family, Weights

OPSET = 17

#: Of opset 17 (onnx/docs/Versioning.md); older runtimes refuse files that state a newer one.
IR_VERSION = 8


def folded_graph(family: Family) -> onnx.ModelProto:
    """tokens int32 [batch, time] -> probabilities float32 [batch, outputs]."""
    graph = _Graph()
    graph.constant("embedding", family.embedding)
    pooled = [_bank(graph, bank, name) for bank, name in zip(family.banks, _names(family.banks), strict=True)]
    value = pooled[0] if len(pooled) == 1 else graph.node("Concat", pooled, "features", axis=1)
    for number, dense in enumerate(family.head):
        value = _dense(graph, dense, value, f"dense_{number}")
    return graph.model(value, int(family.head[-1].kernel.shape[1]))


def _names(banks: tuple[Bank, ...]) -> list[str]:
    """By their widths; a number tells apart banks of the same width."""
    widths = [bank.width for bank in banks]
    repeats = [widths[:index].count(width) for index, width in enumerate(widths)]
    return [f"convolution_{width}" + (f"_{n + 1}" if n else "") for width, n in zip(widths, repeats, strict=True)]


def _bank(graph: _Graph, bank: Bank, name: str) -> str:
    taps = [_tap(graph, bank, name, tap) for tap in range(bank.width)]
    feature_map = taps[0]
    for tap, looked_up in enumerate(taps[1:], start=1):
        feature_map = graph.node("Add", [feature_map, looked_up], f"{name}_sum_{tap}")
    # GlobalMaxPool over a transposed map is faster than ReduceMax over time: 83 against 98 us a review.
    transposed = graph.node("Transpose", [feature_map], f"{name}_map", perm=[0, 2, 1])
    pooled = graph.node("GlobalMaxPool", [transposed], f"{name}_pooled")
    value = graph.node("Flatten", [pooled], f"{name}_flat", axis=1)
    if bank.bias is not None:
        value = graph.node("Add", [value, graph.constant(f"{name}_bias", bank.bias)], f"{name}_biased")
    return _activations(graph, bank.activations, value, name)


def _tap(graph: _Graph, bank: Bank, name: str, tap: int) -> str:
    """The table of one tap, looked up for every position of the feature map: [batch, positions, filters]."""
    kernel = graph.constant(f"{name}_kernel_{tap}", bank.kernel[tap])
    table = graph.node("MatMul", ["embedding", kernel], f"{name}_table_{tap}")
    ids = "tokens"
    if bank.width > 1:
        behind = bank.width - 1 - tap
        start = graph.constant(f"int_{tap}", np.array([tap], np.int64))
        end = graph.constant(f"int_{-behind}" if behind else "int_end", _end(behind))
        axis = graph.constant("int_1", np.array([1], np.int64))
        ids = graph.node("Slice", ["tokens", start, end, axis], f"{name}_ids_{tap}")
    return graph.node("Gather", [table, ids], f"{name}_tap_{tap}", axis=0)


def _end(behind: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([-behind if behind else np.iinfo(np.int64).max], np.int64)


def _dense(graph: _Graph, dense: Dense, value: str, name: str) -> str:
    inputs = [value, graph.constant(f"{name}_kernel", dense.kernel)]
    if dense.bias is not None:
        inputs.append(graph.constant(f"{name}_bias", dense.bias))
    return _activations(graph, dense.activations, graph.node("Gemm", inputs, name), name)


def _activations(graph: _Graph, activations: tuple[str, ...], value: str, name: str) -> str:
    for activation in activations:
        attributes = {"axis": -1} if activation == "softmax" else {}
        name = f"{name}_{activation}"
        value = graph.node(ACTIVATIONS[activation], [value], name, **attributes)
    return value


class _Graph:
    """Nodes and constants in the order they are needed, every constant once."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: Weights | np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
        self._constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def model(self, result: str, outputs: int) -> onnx.ModelProto:
        self._nodes[-1].output[0] = "probabilities"
        assert self._nodes[-1].name == result
        graph = helper.make_graph(
            self._nodes,
            "conv1d",
            [helper.make_tensor_value_info("tokens", TensorProto.INT32, ["batch", "time"])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", outputs])],
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="sentiment-conv1d",
        )
        onnx.checker.check_model(model, full_check=True)
        return model
