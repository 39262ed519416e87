"""The graph that is served for the Conv1D family: convolution as table look-ups.

A filter bank `W` of width w directly after an embedding `E` computes, at position t,

    sum over k < w of  E[x[t+k]] . W[k]

`E . W[k]` does not depend on the text. So each tap k becomes a table `T[k] = E . W[k]` [vocabulary, filters], and the
feature map is `T[0][x[t]] + ... + T[w-1][x[t+w-1]]`: w look-ups and no multiplication.

- The bias is added to the first table.
- A monotone activation commutes with the maximum, so it runs once, on the pooled values. An activation that falls and
  then rises, such as gelu, has its maximum where the sum is largest or where it is smallest, so it runs on both.
- Average pooling needs the activation at every position. The graph adds the padding that a short text lacks.
- A dilated filter reads every second or third word.
- Zero padding is an extra id after the vocabulary, whose embedding is zero.

The graph contains each table as a MatMul of two constants, which ONNX Runtime computes when it creates a session. So
the file is only as large as the weights.

Both dimensions of the input are free. `artifact.input_shape` describes the padding that a short review needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sentiment_conv1d.artifact.graphs.feature_map import (
    bank_names,
    padded_embedding,
    read_feature_map,
    write_feature_map,
    write_sums,
)
from sentiment_conv1d.artifact.graphs.graph import Graph, UnknownGraph, check_elementwise
from sentiment_conv1d.artifact.graphs.head import Pooled, write_head
from sentiment_conv1d.artifact.layers import Bank, Family, Weights

#: Positions of the feature map that are pooled in the first step.
WINDOW = 32

#: The operators of a maximum over all positions, last to first.
_MAXIMA = ("ReduceMax", "MaxPool")

#: `TensorProto.DataType.FLOAT`.
FLOAT = 1


def write_folded(family: Family) -> Graph:
    """Return a graph: tokens int32 [batch, up to `max_tokens`] -> probabilities float32 [batch, outputs]."""
    graph = Graph()
    graph.constant("embedding", padded_embedding(graph, family))
    pooled: list[str] = []
    maps: list[FeatureMap] = []
    for bank, name in zip(family.banks, bank_names(family.banks), strict=True):
        found = next((each for each in maps if each.is_of(bank)), None)
        if found is None:
            tables = [_write_table(graph, bank, name, tap) for tap in range(bank.width)]
            maps.append(found := FeatureMap(bank, tables, write_feature_map(graph, bank, tables, name)))
        if bank.pooling == "mean":
            pooled.append(write_mean(graph, family, bank, found, name))
        else:
            pooled.append(_write_maximum(graph, bank, found.name, name))
    write_head(graph, pooled, family.head)
    return graph


def read_bank(graph: Graph, pooled: Pooled) -> Bank:
    """Return a pooled bank. Raises `UnknownGraph`."""
    value, activations = pooled
    if graph.operator(value) == "Max" and not activations and len(graph.inputs(value, "Max")) == 2:
        return _read_larger_maximum(graph, *graph.inputs(value, "Max"))
    if graph.operator(value) == "Mul" and not activations:
        feature_map, activations = before_mean(graph, value)
        return replace(_read_filters(graph, feature_map, activations), pooling="mean")
    return _read_filters(graph, graph.before(value, *_MAXIMA), activations)


class FeatureMap(NamedTuple):
    """The feature map of a bank in the graph, float32 [1, batch, positions, filters], and its tables."""

    bank: Bank
    tables: Sequence[str]
    name: str

    def is_of(self, bank: Bank) -> bool:
        """Whether a bank has the same filters: a Keras model can pool a convolution by maximum and by average."""
        own = self.bank
        return (own.dilation, own.padding) == (bank.dilation, bank.padding) and (
            np.array_equal(own.kernel, bank.kernel) and np.array_equal(own.bias, bank.bias)
        )


def _write_maximum(graph: Graph, bank: Bank, feature_map: str, name: str) -> str:
    """The largest activation of each filter: [batch, filters]."""
    highest = graph.activations(bank.activations, _write_maxima(graph, feature_map, name), name)
    if not bank.quasiconvex:
        return highest
    negated = _write_maxima(graph, graph.node("Neg", [feature_map], f"{name}_negated"), f"{name}_negated")
    lowest = graph.node("Neg", [negated], f"{name}_least")
    lowest = graph.activations(bank.activations, lowest, f"{name}_least")
    return graph.node("Max", [highest, lowest], f"{name}_larger")


def _read_larger_maximum(graph: Graph, highest: str, lowest: str) -> Bank:
    """Return a bank with an activation that is computed on its largest and on its smallest sums."""
    value, activations = graph.before_activations(highest)
    negated, same = graph.before_activations(lowest)
    feature_map = graph.before(value, *_MAXIMA)
    if same != ("Neg", *activations) or graph.before(negated, *_MAXIMA, "Neg") != feature_map:
        raise UnknownGraph
    bank = _read_filters(graph, feature_map, activations)
    if not bank.quasiconvex:
        raise UnknownGraph
    return bank


def _write_maxima(graph: Graph, feature_map: str, name: str) -> str:
    """The largest value of each filter: [batch, filters]."""
    # Max pooling in two steps, both vectorized over the filters. GlobalMaxPool needs a transposed map, which makes a
    # whole review 5 % slower; ReduceMax alone is slower still. The last window may be shorter.
    window = {"kernel_shape": [WINDOW, 1], "strides": [WINDOW, 1], "ceil_mode": 1}
    maxima = graph.node("MaxPool", [feature_map], f"{name}_maxima", **window)
    return graph.node("ReduceMax", [maxima], f"{name}_pooled", axes=[0, 2], keepdims=0)


def write_mean(graph: Graph, family: Family, bank: Bank, feature_map: FeatureMap, name: str) -> str:
    """The average activation of each filter over a fully padded text: [batch, filters].

    Every pad id that a short text lacks would be one more position at which the filter reads only padding.
    """
    activated = graph.activations(bank.activations, feature_map.name, f"{name}_mean")
    axes = graph.constant("batch_and_positions", np.array([0, 2], np.int64))
    total = graph.node("ReduceSum", [activated, axes], f"{name}_total", keepdims=0)

    pads = graph.constant(f"pad_ids_{bank.span}", np.full((1, bank.span), family.padding_id, np.int32))
    padding = write_sums(graph, bank, feature_map.tables, pads, f"{name}_padding")
    padding = graph.activations(bank.activations, padding, f"{name}_padding")
    padding = graph.node("ReduceSum", [padding, axes], f"{name}_padding_filters", keepdims=0)
    time = graph.node("Shape", ["tokens"], f"{name}_time", start=1)
    max_tokens = graph.constant("max_tokens", np.array([family.max_tokens], np.int64))
    missing = graph.node("Sub", [max_tokens, time], f"{name}_missing_ids")
    missing = graph.node("Cast", [missing], f"{name}_missing", to=FLOAT)
    padding = graph.node("Mul", [missing, padding], f"{name}_missing_padding")

    total = graph.node("Add", [total, padding], f"{name}_padded_total")
    positions = family.max_tokens + sum(bank.padding) - bank.span + 1
    share = graph.constant(f"share_{positions}", np.float32(1 / positions))
    return graph.node("Mul", [total, share], f"{name}_average")


def before_mean(graph: Graph, value: str) -> tuple[str, tuple[str, ...]]:
    """Return the feature map of a bank with average pooling, and its activations. Raises `UnknownGraph`.

    The average is a sum over all positions, plus the missing padding, and a division.
    """
    return graph.before_activations(graph.before(value, "Mul", "Add", "ReduceSum"))


def _read_filters(graph: Graph, feature_map: str, activations: tuple[str, ...]) -> Bank:
    check_elementwise(activations)
    read = read_feature_map(graph, feature_map)
    kernels, biases = zip(*(_read_table(graph, table) for table in read.tables), strict=True)
    return Bank(np.stack(kernels), np.sum(biases, axis=0), activations, read.dilation, read.padding)


def _write_table(graph: Graph, bank: Bank, name: str, tap: int) -> str:
    """The product of each word's embedding and a tap: [1, vocabulary, filters].

    Pooling needs four dimensions. A kernel [1, embedding, filters] provides them without a Reshape.
    """
    kernel = graph.constant(f"{name}_kernel_{tap}", bank.kernel[tap][np.newaxis])
    table = graph.node("MatMul", ["embedding", kernel], f"{name}_table_{tap}")
    if tap == 0 and bank.bias.any():  # added once per session; after pooling, it would be added for every text
        table = graph.node("Add", [table, graph.constant(f"{name}_bias", bank.bias)], f"{name}_biased_table_{tap}")
    return table


def _read_table(graph: Graph, value: str) -> tuple[Weights, Weights]:
    """Return a tap of a kernel, [embedding, filters], and the bias in its table, [filters]."""
    bias: Weights | None = None
    if graph.operator(value) == "Add":
        value, name = graph.inputs(value, "Add")
        bias = graph.weights(name)
    embedding, name = graph.inputs(value, "MatMul")
    if embedding != "embedding":
        raise UnknownGraph
    kernel: Weights = graph.weights(name)[0]
    return kernel, np.zeros(kernel.shape[1], np.float32) if bias is None else bias
