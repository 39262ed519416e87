"""The 8-bit form of a folded graph, which contains the tables themselves: see `export.graphs.quantized`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sentiment_conv1d.artifact.explaining.network import QuantizedTables
from sentiment_conv1d.artifact.graphs.feature_map import (
    bank_names,
    padded_embedding,
    read_feature_map,
    write_feature_map,
)
from sentiment_conv1d.artifact.graphs.folded import WINDOW
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
        _write_bank(graph, bank, quantize(bank, embedding), name)
        for bank, name in zip(family.banks, bank_names(family.banks), strict=True)
    ]
    write_head(graph, pooled, family.head)
    return graph


def _write_bank(graph: Graph, bank: Bank, tables: QuantizedTables, name: str) -> str:
    """The maxima of one bank after its activations: float32 [batch, filters]."""
    names = [graph.constant(f"{name}_table_{tap}", entries[np.newaxis]) for tap, entries in enumerate(tables.entries)]
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


def read_quantized_bank(graph: Graph, pooled: Pooled) -> tuple[Bank, QuantizedTables]:
    """Return a pooled bank and its tables. Raises `UnknownGraph`.

    The graph has no embedding. Its filters read one number of a word for each tap, from the table, and the kernel
    selects number k at tap k.
    """
    value, activations = pooled
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
    filters = len(tables.step)
    kernel = np.broadcast_to(np.eye(width, dtype=np.float32)[:, :, np.newaxis], (width, width, filters))
    bias: Weights = np.sum(parts[width:], axis=0) if parts[width:] else np.zeros(filters, np.float32)
    return Bank(kernel, bias, activations, read.dilation, read.padding), tables
