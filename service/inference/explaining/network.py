"""The network of a folded graph as plain arrays, read from the graph itself.

`export.folded` writes the convolution as look-ups in the products of the embedding and each tap of a kernel, the bias
added to the first. All of them lie in the file, so what is explained is what runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from google.protobuf.message import DecodeError

from sentiment_conv1d.model.layers import ACTIVATIONS, SOFTMAX, Bank, Dense, Weights
from sentiment_conv1d.service.inference.explaining import onnx_subset_pb2 as onnx

#: What may turn the logits into probabilities.
_FINAL = ("Sigmoid", SOFTMAX)

#: Of `TensorProto.DataType`.
_FLOAT32, _INT64 = 1, 7


@dataclass(frozen=True)
class Network:
    """Embedding, filters, global max pooling, dense layers; the last of them gives the logits."""

    embedding: Weights  # [vocabulary, embedding]
    banks: tuple[Bank, ...]
    head: tuple[Dense, ...]
    final: str  # what makes probabilities of the logits: Sigmoid or Softmax

    @cached_property
    def tables(self) -> tuple[Weights, ...]:
        """What each word adds under each tap of each filter, [width, vocabulary, filters] of every bank.

        The session holds the same products. They are made for the first explanation, so that a service that is never
        asked for one has no memory for them.
        """
        return tuple(self.embedding @ bank.kernel for bank in self.banks)

    def locate(self, number: int) -> tuple[int, int]:
        """Width and index in its bank of the filter with a number over all banks."""
        for bank in self.banks:
            if number < len(bank.bias):
                break
            number -= len(bank.bias)
        return bank.width, number


class _Unsupported(Exception):
    """The graph has something that `export.folded` does not write."""


def read_network(graph: bytes) -> Network | None:
    """The network of a `model.onnx`, or None for a graph that is no folded network of float32."""
    try:
        return _Reader(onnx.Model.FromString(graph).graph).network()
    except (_Unsupported, DecodeError):
        return None


class _Reader:
    """Goes through a graph from its output back to its input."""

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
        if self._operator(value) == "Concat":
            if activations:
                raise _Unsupported
            banks = [self._bank(*self._activations(each)) for each in self._nodes[value].input]
        else:
            banks = [self._bank(value, activations)]
        return Network(self._constant("embedding"), tuple(banks), tuple(head), final)

    def _activations(self, value: str) -> tuple[str, tuple[str, ...]]:
        """What a value is computed from by activations alone, and these in order."""
        activations: list[str] = []
        while (operator := self._operator(value)) in (*ACTIVATIONS, SOFTMAX):
            activations.insert(0, operator)
            value = self._nodes[value].input[0]
        return value, tuple(activations)

    def _dense(self, value: str, activations: tuple[str, ...]) -> tuple[str, Dense]:
        node = self._nodes[value]
        if node.attribute or not set(activations) <= set(ACTIVATIONS):
            raise _Unsupported
        kernel = self._constant(node.input[1])
        bias = self._constant(node.input[2]) if len(node.input) > 2 else np.zeros(kernel.shape[1], np.float32)
        return node.input[0], Dense(kernel, bias, activations)

    def _bank(self, value: str, activations: tuple[str, ...]) -> Bank:
        if not set(activations) <= set(ACTIVATIONS):
            raise _Unsupported
        for operator in ("ReduceMax", "MaxPool"):
            if self._operator(value) != operator:
                raise _Unsupported
            value = self._nodes[value].input[0]
        tables = dict(self._taps(value))
        if sorted(tables) != list(range(len(tables))):
            raise _Unsupported
        kernels, biases = zip(*(self._table(tables[tap]) for tap in range(len(tables))), strict=True)
        return Bank(np.stack(kernels), np.sum(biases, axis=0), activations)

    def _taps(self, value: str) -> list[tuple[int, str]]:
        """Every look-up of a sum: the word of the window that it is for, and its table."""
        node = self._nodes.get(value)
        if node is not None and node.op_type == "Add":
            return [tap for each in node.input for tap in self._taps(each)]
        if node is None or node.op_type != "Gather":
            raise _Unsupported
        table, ids = node.input
        start = 0
        if self._operator(ids) == "Slice":
            ids, start_name, *_ = self._nodes[ids].input
            start = int.from_bytes(self._bytes(start_name, _INT64), "little")
        if ids != "tokens":
            raise _Unsupported
        return [(start, table)]

    def _table(self, value: str) -> tuple[Weights, Weights]:
        """A tap of a kernel, [embedding, filters], and the bias that is in its table, [filters]."""
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

    def _bytes(self, name: str, data_type: int) -> bytes:
        tensor = self._tensors.get(name)
        if tensor is None or tensor.data_type != data_type or not tensor.raw_data:
            raise _Unsupported
        return tensor.raw_data
