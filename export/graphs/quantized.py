"""The 8-bit form of a folded graph: look-up tables of uint8, whose rows are added and pooled as uint8.

`artifact.graphs.folded` sums, for every position, one row of each tap's table. Here the values of a filter in the table
of tap k are shifted, so that the least of them is 0, and divided by a step that all taps of the filter share:

    entry[k][word] = round((T[k][word] - lowest[k]) / step)

The steps are so large that the largest entries of all taps add up to 255 at most. So no text can make a sum overflow,
and there is nothing to calibrate. After pooling, a maximum m stands for

    m * step + lowest[0] + ... + lowest[width - 1] + bias

The activation and the dense layers run on this value in float32. The bias and a monotone activation do not change which
position has the maximum, so they are applied after pooling.

The tables of a bank with average pooling become float32 again before they are added up. For these, `lowest` is a
multiple of the step, so that an entry of 0 stays 0: a short text consists of hundreds of pad ids.

The file contains the tables themselves. If a session computed them from float32 weights when it starts, an entry could
be rounded up on one processor and down on another. With stored tables, every processor computes the same maxima, to the
last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx

from sentiment_conv1d.artifact.explaining.network import QuantizedTables
from sentiment_conv1d.artifact.graphs.quantized import write_quantized
from sentiment_conv1d.artifact.layers import Bank, Family, Weights
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.graphs.onnx_file import onnx_model

#: The largest sum of entries that a uint8 holds.
LARGEST_SUM = 255


def quantized_graph(family: Family, kept: Sequence[tuple[Bank, QuantizedTables]] = ()) -> onnx.ModelProto:
    """Return a graph: tokens int32 [batch, sequence_length] -> probabilities float32 [batch, outputs].

    If the tables of the banks are `kept` from an 8-bit graph, this graph has them too, to the last bit.

    Raises `ExportError`, which names the layer, if a bank cannot be pooled by the maximum of its sums: it has an
    activation such as gelu, which can be largest where the sum is smallest.
    """
    for bank in family.banks:
        if bank.quasiconvex:
            raise ExportError(
                f"layer {bank.name} has no 8-bit form: its activation, {', '.join(bank.activations)}, falls before it "
                "rises",
                "export it without --quantize, or train it with an activation that never falls, such as relu",
            )
    if not kept:
        return onnx_model(write_quantized(family, quantize), family.outputs)
    banks, tables = zip(*kept, strict=True)
    remaining = iter(tables)
    return onnx_model(write_quantized(replace(family, banks=banks), lambda *_: next(remaining)), family.outputs)


def quantize(bank: Bank, embedding: Weights) -> QuantizedTables:
    """Quantize the tables of a bank for an embedding [vocabulary, embedding], with one step for each filter."""
    tables = embedding @ bank.kernel
    lowest = tables.min(axis=1)
    if bank.pooling == "mean":
        return _with_zero(tables, np.minimum(lowest, 0))
    # Rounding adds at most half a step per tap, and a sum of integers below 256 is at most 255.
    ranges: npt.NDArray[np.float64] = (tables.max(axis=1) - lowest).sum(axis=0, dtype=np.float64)
    step: Weights = (ranges / (LARGEST_SUM - bank.width // 2)).astype(np.float32)
    step[step == 0] = 1  # a filter with the same value for every text
    entries = np.empty(tables.shape, np.uint8)
    for tap, table in enumerate(tables):
        entries[tap] = np.round((table - lowest[tap]) / step.astype(np.float64))
    return QuantizedTables(entries, step, lowest)


def _with_zero(tables: Weights, lowest: Weights) -> QuantizedTables:
    """Quantize tables [width, vocabulary, filters] with a whole number of steps from `lowest` to zero."""
    ranges: npt.NDArray[np.float64] = (np.maximum(tables.max(axis=1), 0) - lowest).sum(axis=0, dtype=np.float64)
    # Rounding moves an entry and the zero by half a step each.
    step: Weights = (ranges / (LARGEST_SUM - len(tables))).astype(np.float32)
    step[step == 0] = 1
    zero = np.round(-lowest / step.astype(np.float64))
    entries = np.round(tables / step.astype(np.float64)) + zero[:, np.newaxis]
    return QuantizedTables(entries.astype(np.uint8), step, -(zero.astype(np.float32) * step))
