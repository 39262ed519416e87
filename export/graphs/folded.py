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

Both dimensions of the input are free. `model.input_shape` describes the padding that a short review needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from sentiment_conv1d.export.graphs.graph import Graph, bank_names
from sentiment_conv1d.export.recognition.family import Family
from sentiment_conv1d.model.layers import Bank, Weights

#: Positions of the feature map that are pooled in the first step.
WINDOW = 32


def folded_graph(family: Family) -> onnx.ModelProto:
    """Return a graph: tokens int32 [batch, up to `max_tokens`] -> probabilities float32 [batch, outputs]."""
    graph = Graph()
    graph.constant("embedding", padded_embedding(graph, family))
    pooled: list[str] = []
    maps: list[_Map] = []
    for bank, name in zip(family.banks, bank_names(family.banks), strict=True):
        found = next((each for each in maps if each.is_of(bank)), None)
        if found is None:
            tables = [_table(graph, bank, name, tap) for tap in range(bank.width)]
            maps.append(found := _Map(bank, tables, feature_map(graph, bank, tables, name)))
        if bank.pooling == "mean":
            pooled.append(_mean(graph, family, bank, found, name))
        else:
            pooled.append(_maximum(graph, bank, found.name, name))
    return graph.classifier(pooled, family.head)


def padded_embedding(graph: Graph, family: Family) -> Weights:
    """Return the embedding, with a row of zeros at the end if a bank pads. The constant `outside` is the row's id."""
    if not any(any(bank.padding) for bank in family.banks):
        return family.embedding
    graph.constant("outside", np.int32(len(family.embedding)))
    return np.pad(family.embedding, ((0, 1), (0, 0)))


def feature_map(graph: Graph, bank: Bank, tables: Sequence[str], name: str) -> str:
    """Add up the table look-ups of all taps, in the type of the tables: [1, batch, positions, filters].

    The tables are [1, vocabulary, filters]. If the bank pads, their last row belongs to the padding, and the constant
    `outside` is its id.
    """
    tokens = "tokens"
    if any(bank.padding):
        before, behind = bank.padding
        pads = graph.constant(f"pads_{before}_{behind}", np.array([0, before, 0, behind], np.int64))
        tokens = graph.node("Pad", [tokens, pads, "outside"], f"{name}_padded")
    return _sum_of_taps(graph, bank, tables, tokens, name)


@dataclass(frozen=True)
class _Map:
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


def _maximum(graph: Graph, bank: Bank, feature_map: str, name: str) -> str:
    """The largest activation of each filter: [batch, filters]."""
    highest = graph.activations(bank.activations, _maxima(graph, feature_map, name), name)
    if not bank.quasiconvex:
        return highest
    negated = _maxima(graph, graph.node("Neg", [feature_map], f"{name}_negated"), f"{name}_negated")
    lowest = graph.node("Neg", [negated], f"{name}_least")
    lowest = graph.activations(bank.activations, lowest, f"{name}_least")
    return graph.node("Max", [highest, lowest], f"{name}_larger")


def _maxima(graph: Graph, feature_map: str, name: str) -> str:
    """The largest value of each filter: [batch, filters]."""
    # Max pooling in two steps, both vectorized over the filters. GlobalMaxPool needs a transposed map, which makes a
    # whole review 5 % slower; ReduceMax alone is slower still. The last window may be shorter.
    window = {"kernel_shape": [WINDOW, 1], "strides": [WINDOW, 1], "ceil_mode": 1}
    maxima = graph.node("MaxPool", [feature_map], f"{name}_maxima", **window)
    return graph.node("ReduceMax", [maxima], f"{name}_pooled", axes=[0, 2], keepdims=0)


def _mean(graph: Graph, family: Family, bank: Bank, feature_map: _Map, name: str) -> str:
    """The average activation of each filter over a fully padded text: [batch, filters].

    Every pad id that a short text lacks would be one more position at which the filter reads only padding.
    """
    activated = graph.activations(bank.activations, feature_map.name, f"{name}_mean")
    axes = graph.constant("batch_and_positions", np.array([0, 2], np.int64))
    total = graph.node("ReduceSum", [activated, axes], f"{name}_total", keepdims=0)

    pads = graph.constant(f"pad_ids_{bank.span}", np.full((1, bank.span), family.padding_id, np.int32))
    padding = _sum_of_taps(graph, bank, feature_map.tables, pads, f"{name}_padding")
    padding = graph.activations(bank.activations, padding, f"{name}_padding")
    axes = graph.constant("all_but_filters", np.array([0, 1, 2], np.int64))
    padding = graph.node("Squeeze", [padding, axes], f"{name}_padding_filters")
    time = graph.node("Shape", ["tokens"], f"{name}_time", start=1, end=2)
    max_tokens = graph.constant("max_tokens", np.array([family.max_tokens], np.int64))
    missing = graph.node("Sub", [max_tokens, time], f"{name}_missing_ids")
    missing = graph.node("Cast", [missing], f"{name}_missing", to=TensorProto.FLOAT)
    padding = graph.node("Mul", [missing, padding], f"{name}_missing_padding")

    total = graph.node("Add", [total, padding], f"{name}_padded_total")
    positions = family.max_tokens + sum(bank.padding) - bank.span + 1
    share = graph.constant(f"share_{positions}", np.float32(1 / positions))
    return graph.node("Mul", [total, share], f"{name}_average")


def _table(graph: Graph, bank: Bank, name: str, tap: int) -> str:
    """The product of each word's embedding and a tap: [1, vocabulary, filters].

    Pooling needs four dimensions. A kernel [1, embedding, filters] provides them without a Reshape.
    """
    kernel = graph.constant(f"{name}_kernel_{tap}", bank.kernel[tap][np.newaxis])
    table = graph.node("MatMul", ["embedding", kernel], f"{name}_table_{tap}")
    if tap == 0 and bank.bias.any():  # added once per session; after pooling, it would be added for every text
        table = graph.node("Add", [table, graph.constant(f"{name}_bias", bank.bias)], f"{name}_biased_table_{tap}")
    return table


def _sum_of_taps(graph: Graph, bank: Bank, tables: Sequence[str], tokens: str, name: str) -> str:
    """Add up the table look-ups of all taps: ids int32 [batch, sequence_length] -> [1, batch, positions, filters]."""
    sums = ""
    for tap, table in enumerate(tables):
        looked_up = graph.node("Gather", [table, _ids(graph, bank, tokens, name, tap)], f"{name}_tap_{tap}", axis=1)
        sums = graph.node("Add", [sums, looked_up], f"{name}_sum_{tap}") if sums else looked_up
    return sums


def _ids(graph: Graph, bank: Bank, tokens: str, name: str, tap: int) -> str:
    """The ids under one tap at every position of the feature map: [batch, positions]."""
    if bank.width == 1:
        return tokens
    offset = tap * bank.dilation
    behind = bank.span - 1 - offset
    start = graph.constant(f"int_{offset}", np.array([offset], np.int64))
    end = graph.constant(f"int_{-behind}" if behind else "int_end", _end(behind))
    axis = graph.constant("int_1", np.array([1], np.int64))
    return graph.node("Slice", [tokens, start, end, axis], f"{name}_ids_{tap}")


def _end(behind: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([-behind if behind else np.iinfo(np.int64).max], np.int64)
