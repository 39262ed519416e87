"""Reads the network of a folded graph as plain arrays, so that explanations use the weights that are served.

`export.graphs.folded` writes the convolution as look-ups in the products of the embedding and each tap of a kernel. The
first product includes the bias. `export.graphs.quantized` writes the tables of these products as uint8, with the step
and the lowest value of each filter.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from sentiment_conv1d.model.explaining.network import Network
from sentiment_conv1d.model.explaining.tables import QuantizedTables
from sentiment_conv1d.model.layers import ACTIVATIONS, SOFTMAX, Bank, Dense, Weights, parse
from sentiment_conv1d.service.inference.explaining import onnx_subset_pb2 as onnx

#: Operators that turn logits into probabilities.
_FINAL = ("Sigmoid", SOFTMAX)

#: Values of `TensorProto.DataType`.
_FLOAT32, _UINT8, _INT64 = 1, 2, 7


def _work_on_each_value(activations: tuple[str, ...]) -> bool:
    return all(parse(activation)[0] in ACTIVATIONS for activation in activations)


class _Unsupported(Exception):
    """The graph contains something that `export.graphs.folded` does not write."""


def read_network(graph: bytes) -> Network | None:
    """Return the network of a `model.onnx`, or None if the graph is not a folded network."""
    try:
        return _Reader(onnx.Model.FromString(graph).graph).network()
    except (_Unsupported, DecodeError):
        return None


class _Reader:
    """Reads a graph from its output back to its input."""

    def __init__(self, graph: onnx.Graph) -> None:
        self._nodes = {output: node for node in graph.node for output in node.output}
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}

    def network(self) -> Network:
        value, activations = self._activations("probabilities")
        if not activations or activations[-1] not in _FINAL:
            raise _Unsupported
        final, activations = activations[-1], activations[:-1]
        head: list[Dense] = []
        while self._operator(value) == "Gemm":
            value, dense = self._dense(value, activations)
            head.insert(0, dense)
            value, activations = self._activations(value)
        if not head or head[-1].activations:
            raise _Unsupported
        pooled = [(value, activations)]
        if self._operator(value) == "Concat":
            if activations:
                raise _Unsupported
            pooled = [self._activations(each) for each in self._nodes[value].input]
        if "embedding" in self._tensors:
            banks = tuple(self._bank(*each) for each in pooled)
            return Network(self._constant("embedding"), banks, tuple(head), final)
        banks, quantized = zip(*(self._quantized_bank(*each) for each in pooled), strict=True)
        return Network(None, banks, tuple(head), final, quantized)

    def _activations(self, value: str) -> tuple[str, tuple[str, ...]]:
        """Return the value before the activations that compute a value, and these activations in order."""
        activations: list[str] = []
        while (operator := self._operator(value)) in (*ACTIVATIONS, SOFTMAX):
            node = self._nodes[value]
            alphas = [attribute.f for attribute in node.attribute if attribute.name == "alpha"]
            activations.insert(0, f"{operator}({alphas[0]})" if alphas else operator)
            value = node.input[0]
        return value, tuple(activations)

    def _dense(self, value: str, activations: tuple[str, ...]) -> tuple[str, Dense]:
        node = self._nodes[value]
        if node.attribute or not _work_on_each_value(activations):
            raise _Unsupported
        kernel = self._constant(node.input[1])
        bias = self._constant(node.input[2]) if len(node.input) > 2 else np.zeros(kernel.shape[1], np.float32)
        return node.input[0], Dense(kernel, bias, activations)

    def _bank(self, value: str, activations: tuple[str, ...]) -> Bank:
        if self._operator(value) == "Max" and not activations and len(self._nodes[value].input) == 2:
            return self._quasiconvex_bank(*self._nodes[value].input)
        if self._operator(value) == "Mul" and not activations:
            return self._mean_bank(value)
        return self._filters(self._pooled(value, "MaxPool"), activations)

    def _filters(self, feature_map: str, activations: tuple[str, ...]) -> Bank:
        if not _work_on_each_value(activations):
            raise _Unsupported
        tables, dilation, padding = self._taps(feature_map)
        kernels, biases = zip(*(self._table(table) for table in tables), strict=True)
        return Bank(np.stack(kernels), np.sum(biases, axis=0), activations, dilation, padding)

    def _quantized_bank(self, value: str, activations: tuple[str, ...]) -> tuple[Bank, QuantizedTables]:
        """Return a bank of an 8-bit graph and its tables.

        The graph has no embedding. Its filters read one number of a word for each tap, from the table, and the kernel
        selects number k at tap k.
        """
        if self._operator(value) != "Add" or not _work_on_each_value(activations):
            raise _Unsupported
        scaled, offset = self._nodes[value].input
        if (self._operator(scaled), self._operator(offset)) != ("DequantizeLinear", "Sum"):
            raise _Unsupported
        pooled, step, *zero_point = self._nodes[scaled].input
        if zero_point:
            raise _Unsupported
        names, dilation, padding = self._taps(self._pooled(pooled, "NhwcMaxPool"))
        width = len(names)
        parts = [self._constant(name) for name in self._nodes[offset].input]
        entries = np.stack([self._entries(name) for name in names])
        tables = QuantizedTables(entries, self._constant(step), np.stack(parts[:width]))
        filters = len(tables.step)
        kernel = np.broadcast_to(np.eye(width, dtype=np.float32)[:, :, np.newaxis], (width, width, filters))
        bias: Weights = np.sum(parts[width:], axis=0) if parts[width:] else np.zeros(filters, np.float32)
        return Bank(kernel, bias, activations, dilation, padding), tables

    def _mean_bank(self, value: str) -> Bank:
        """Return a bank with average pooling: a sum over all positions, plus the missing padding, and a division."""
        for operator in ("Mul", "Add", "ReduceSum"):
            if self._operator(value) != operator:
                raise _Unsupported
            value = self._nodes[value].input[0]
        return replace(self._filters(*self._activations(value)), pooling="mean")

    def _quasiconvex_bank(self, highest: str, lowest: str) -> Bank:
        """Return a bank with an activation that is computed on its largest and on its smallest sums."""
        value, activations = self._activations(highest)
        negated, same = self._activations(lowest)
        map_negated = self._pooled(negated, "MaxPool")
        if same != ("Neg", *activations) or self._operator(map_negated) != "Neg":
            raise _Unsupported
        if self._nodes[map_negated].input[0] != self._pooled(value, "MaxPool"):
            raise _Unsupported
        bank = self._bank(value, activations)
        if not bank.quasiconvex:
            raise _Unsupported
        return bank

    def _pooled(self, value: str, first_step: str) -> str:
        """Return the feature map of a maximum."""
        for operator in ("ReduceMax", first_step):
            if self._operator(value) != operator:
                raise _Unsupported
            value = self._nodes[value].input[0]
        return value

    def _taps(self, value: str) -> tuple[list[str], int, tuple[int, int]]:
        """Return the tables of a feature map in the order of their taps, its dilation, and the padding of the text."""
        looked_up = self._look_ups(value)
        tables = {offset: table for offset, table, _ in looked_up}
        offsets = sorted(tables)
        dilation = offsets[1] if len(offsets) > 1 else 1
        paddings = {padding for *_, padding in looked_up}
        if offsets != [tap * dilation for tap in range(len(looked_up))] or len(paddings) != 1:
            raise _Unsupported
        return [tables[offset] for offset in offsets], dilation, paddings.pop()

    def _look_ups(self, value: str) -> list[tuple[int, str, tuple[int, int]]]:
        """Return every look-up of a sum: the position in the window, the table, and the padding of the text."""
        node = self._nodes.get(value)
        if node is not None and node.op_type == "Add":
            return [look_up for each in node.input for look_up in self._look_ups(each)]
        if node is None or node.op_type != "Gather":
            raise _Unsupported
        table, ids = node.input
        start = 0
        if self._operator(ids) == "Slice":
            ids, start_name, *_ = self._nodes[ids].input
            start = int(self._integers(start_name)[0])
        before = behind = 0
        if self._operator(ids) == "Pad":
            ids, pads, *_ = self._nodes[ids].input
            pad_counts = self._integers(pads)
            if len(pad_counts) != 4:
                raise _Unsupported
            _, before, _, behind = pad_counts
        if ids != "tokens":
            raise _Unsupported
        return [(start, table, (before, behind))]

    def _table(self, value: str) -> tuple[Weights, Weights]:
        """Return a tap of a kernel, [embedding, filters], and the bias in its table, [filters]."""
        bias: Weights | None = None
        if self._operator(value) == "Add":
            value, name = self._nodes[value].input
            bias = self._constant(name)
        if self._operator(value) != "MatMul":
            raise _Unsupported
        embedding, name = self._nodes[value].input
        if embedding != "embedding":
            raise _Unsupported
        kernel = self._constant(name)[0]
        return kernel, np.zeros(kernel.shape[1], np.float32) if bias is None else bias

    def _operator(self, value: str) -> str:
        node = self._nodes.get(value)
        return node.op_type if node is not None else ""

    def _constant(self, name: str) -> Weights:
        return np.frombuffer(self._bytes(name, _FLOAT32), "<f4").reshape(tuple(self._tensors[name].dims))

    def _entries(self, name: str) -> npt.NDArray[np.uint8]:
        content = np.frombuffer(self._bytes(name, _UINT8), np.uint8)
        entries: npt.NDArray[np.uint8] = content.reshape(tuple(self._tensors[name].dims))[0]
        return entries

    def _integers(self, name: str) -> list[int]:
        integers: list[int] = np.frombuffer(self._bytes(name, _INT64), "<i8").tolist()
        return integers

    def _bytes(self, name: str, data_type: int) -> bytes:
        tensor = self._tensors.get(name)
        if tensor is None or tensor.data_type != data_type or not tensor.raw_data:
            raise _Unsupported
        return tensor.raw_data
