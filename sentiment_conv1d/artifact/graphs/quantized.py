"""The 8-bit form of a folded graph, which contains the tables themselves: see `export.graphs.quantized`.

A sum over all positions of a text does not fit into 8 bits. If a bank has average pooling, its tables are 8-bit in the
file, and a session turns them into float32 when it is created.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.explaining.network import QuantizedTables
from sentiment_conv1d.artifact.graphs.feature_map import (
    bank_names,
    padded_embedding,
    read_feature_map,
    write_feature_map,
)
from sentiment_conv1d.artifact.graphs.folded import FLOAT, WINDOW, FeatureMap, before_mean, write_mean
from sentiment_conv1d.artifact.graphs.graph import Graph, UnknownGraph, check_elementwise
from sentiment_conv1d.artifact.graphs.head import Pooled, write_head
from sentiment_conv1d.artifact.layers import Bank, Family, Weights


def write_quantized(family: Family, quantize: Callable[[Bank, Weights], QuantizedTables]) -> Graph:
    """Return a graph: tokens int32 [batch, sequence_length] -> probabilities float32 [batch, outputs].

    `quantize` returns the tables of a bank for an embedding [vocabulary, embedding].
    """
    graph = Graph()
    embedding = padded_embedding(graph, family)
    pooled = [
        _write_bank(graph, family, bank, quantize(bank, embedding), name)
        for bank, name in zip(family.banks, bank_names(family.banks), strict=True)
    ]
    write_head(graph, pooled, family.head)
    return graph


def _write_bank(graph: Graph, family: Family, bank: Bank, tables: QuantizedTables, name: str) -> str:
    """The pooled values of one bank after its activations: float32 [batch, filters]."""
    names = [graph.constant(f"{name}_table_{tap}", entries[np.newaxis]) for tap, entries in enumerate(tables.entries)]
    if bank.pooling == "mean":
        dequantized = [_write_dequantized(graph, bank, tables, name, tap, entries) for tap, entries in enumerate(names)]
        feature_map = FeatureMap(bank, dequantized, write_feature_map(graph, bank, dequantized, name))
        return write_mean(graph, family, bank, feature_map, name)
    sums = write_feature_map(graph, bank, names, name)
    # In two steps, as in `artifact.graphs.folded`. With ONNX's own MaxPool, a whole review takes seven times as long.
    window = {"kernel_shape": [1, WINDOW], "strides": [1, WINDOW], "ceil_mode": 1, "domain": "com.microsoft"}
    maxima = graph.node("NhwcMaxPool", [sums], f"{name}_maxima", **window)
    pooled = graph.node("ReduceMax", [maxima], f"{name}_pooled", axes=[0, 2], keepdims=0)
    step = graph.constant(f"{name}_step", tables.step)
    value = graph.node("DequantizeLinear", [pooled, step], f"{name}_scaled", axis=1)
    parts = [graph.constant(f"{name}_lowest_{tap}", lowest) for tap, lowest in enumerate(tables.lowest)]
    if bank.bias.any():
        parts.append(graph.constant(f"{name}_bias", bank.bias))
    offset = graph.node("Sum", parts, f"{name}_offset")
    value = graph.node("Add", [value, offset], f"{name}_value")
    return graph.activations(bank.activations, value, name)


def _write_dequantized(graph: Graph, bank: Bank, tables: QuantizedTables, name: str, tap: int, entries: str) -> str:
    """The table of a tap with float32 entries: [1, vocabulary, filters]. The first one contains the bias."""
    value = graph.node("Cast", [entries], f"{name}_cast_{tap}", to=FLOAT)
    value = graph.node("Mul", [value, graph.constant(f"{name}_step", tables.step)], f"{name}_scaled_{tap}")
    parts = [graph.constant(f"{name}_lowest_{tap}", tables.lowest[tap])]
    if tap == 0 and bank.bias.any():
        parts.append(graph.constant(f"{name}_bias", bank.bias))
    for part in parts:
        value = graph.node("Add", [value, part], f"{part}_table")
    return value


def read_quantized_bank(graph: Graph, pooled: Pooled) -> tuple[Bank, QuantizedTables]:
    """Return a pooled bank and its tables. Raises `UnknownGraph`."""
    value, activations = pooled
    if graph.operator(value) == "Mul" and not activations:
        return _read_average(graph, value)
    check_elementwise(activations)
    scaled, offset = graph.inputs(value, "Add")
    maxima, step, *zero_point = graph.inputs(scaled, "DequantizeLinear")
    if zero_point:
        raise UnknownGraph
    read = read_feature_map(graph, graph.before(maxima, "ReduceMax", "NhwcMaxPool"))
    width = len(read.tables)
    parts = [graph.weights(name) for name in graph.inputs(offset, "Sum")]
    entries = np.stack([graph.entries(name)[0] for name in read.tables])
    tables = QuantizedTables(entries, graph.weights(step), np.stack(parts[:width]))
    bias: Weights = np.sum(parts[width:], axis=0) if parts[width:] else np.zeros(tables.filters, np.float32)
    return Bank(tables.kernel(), bias, activations, read.dilation, read.padding), tables


def _read_average(graph: Graph, value: str) -> tuple[Bank, QuantizedTables]:
    """Return a bank with average pooling, and its tables."""
    feature_map, activations = before_mean(graph, value)
    check_elementwise(activations)
    read = read_feature_map(graph, feature_map)
    entries, steps, lowest, biases = zip(*(_read_dequantized(graph, table) for table in read.tables), strict=True)
    tables = QuantizedTables(np.stack(entries), steps[0], np.stack(lowest))
    bank = Bank(tables.kernel(), np.sum(biases, axis=0), activations, read.dilation, read.padding, "mean")
    return bank, tables


def _read_dequantized(graph: Graph, table: str) -> tuple[npt.NDArray[np.uint8], Weights, Weights, Weights]:
    """Return the entries [vocabulary, filters], the step, the lowest value and the bias of a tap: [filters] each."""
    value, last = graph.inputs(table, "Add")
    bias: Weights = np.zeros_like(graph.weights(last))
    if graph.operator(value) == "Add":
        bias = graph.weights(last)
        value, last = graph.inputs(value, "Add")
    cast, step = graph.inputs(value, "Mul")
    return graph.entries(graph.before(cast, "Cast"))[0], graph.weights(step), graph.weights(last), bias
