"""The 8-bit form of a folded graph: look-up tables of uint8, whose rows are added and pooled as uint8.

`export.graphs.folded` sums, for every position, one row of each tap's table. Here the values of a filter in the table
of tap k are shifted, so that the least of them is 0, and divided by a step that all taps of the filter share:

    entry[k][word] = round((T[k][word] - lowest[k]) / step)

The steps are so large that the largest entries of all taps add up to 255 at most. So no text can make a sum overflow,
and there is nothing to calibrate. After pooling, a maximum m stands for

    m * step + lowest[0] + ... + lowest[width - 1] + bias

The activation and the dense layers run on this value in float32. The bias and a monotone activation do not change which
position has the maximum, so they are applied after pooling.

The file contains the tables themselves. If a session computed them from float32 weights when it starts, an entry could
be rounded up on one processor and down on another. With stored tables, every processor computes the same maxima, to the
last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.graphs.folded import WINDOW, feature_map, padded_embedding
from sentiment_conv1d.export.graphs.graph import Graph, bank_names
from sentiment_conv1d.export.recognition.family import Family
from sentiment_conv1d.model.layers import Bank, Weights

#: The largest sum of entries that a uint8 holds.
LARGEST_SUM = 255


@dataclass(frozen=True)
class QuantizedBank:
    """The tables of the filters of one width; a sum of entries n stands for `n * step + lowest.sum(axis=0)`."""

    entries: npt.NDArray[np.uint8]  # [width, vocabulary, filters]
    step: Weights  # [filters]
    lowest: Weights  # [width, filters], what an entry of 0 stands for


def quantized_graph(family: Family) -> onnx.ModelProto:
    """Return a graph: tokens int32 [batch, sequence_length] -> probabilities float32 [batch, outputs].

    Raises `ExportError`, which names the layer, if a bank cannot be pooled by the maximum of its sums: it has average
    pooling, or an activation such as gelu, which can be largest where the sum is smallest.
    """
    for bank in family.banks:
        if bank.pooling == "mean":
            raise ExportError(
                f"layer {bank.name} has no 8-bit form: it has average pooling", "export it without --quantize"
            )
        if bank.quasiconvex:
            raise ExportError(
                f"layer {bank.name} has no 8-bit form: its activation, {', '.join(bank.activations)}, falls before it "
                "rises",
                "export it without --quantize, or train it with an activation that never falls, such as relu",
            )
    graph = Graph()
    embedding = padded_embedding(graph, family)
    pooled = [
        _bank(graph, bank, quantize(bank, embedding), name)
        for bank, name in zip(family.banks, bank_names(family.banks), strict=True)
    ]
    return graph.classifier(pooled, family.head)


def quantize(bank: Bank, embedding: Weights) -> QuantizedBank:
    """Quantize the tables of a bank for an embedding [vocabulary, embedding], with one step for each filter."""
    tables = embedding @ bank.kernel
    lowest = tables.min(axis=1)
    # Rounding adds at most half a step per tap, and a sum of integers below 256 is at most 255.
    ranges: npt.NDArray[np.float64] = (tables.max(axis=1) - lowest).sum(axis=0, dtype=np.float64)
    step: Weights = (ranges / (LARGEST_SUM - bank.width // 2)).astype(np.float32)
    step[step == 0] = 1  # a filter with the same value for every text
    entries = np.empty(tables.shape, np.uint8)
    for tap, table in enumerate(tables):
        entries[tap] = np.round((table - lowest[tap]) / step.astype(np.float64))
    return QuantizedBank(entries, step, lowest)


def _bank(graph: Graph, bank: Bank, tables: QuantizedBank, name: str) -> str:
    """The maxima of one bank after its activations: float32 [batch, filters]."""
    names = [graph.constant(f"{name}_table_{tap}", entries[np.newaxis]) for tap, entries in enumerate(tables.entries)]
    sums = feature_map(graph, bank, names, name)
    # In two steps, as in `export.graphs.folded`. With ONNX's own MaxPool, a whole review takes seven times as long.
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
