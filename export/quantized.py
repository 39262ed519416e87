"""The 8-bit form of the Conv1D family's graph: a convolution of integers, pooled as integers.

The embedding is uint8 with one scale and zero point 128, the kernel int8 with a scale for each filter, so a filter's
sum is an integer. The feature map is uint8: the whole range that a filter can reach, for any text, is cut into 255
steps. That range needs no calibration. With the integer tables `T[k] = E . W[k]`, see `export.folded`, no sum is above

    sum over k of  max over the vocabulary of  T[k]

nor below the same with the least, so nothing saturates. ONNX has one output scale for all filters; here it is 1, and
what is a step to each filter goes into its weight scale before pooling and is undone after it, on the maxima.

With a relu behind the filter the range starts at 0, where the integers end, so the relu costs nothing. Any other
activation runs in float32 on the maxima, and the bias with it.

Weights stay within 64, of the 127 that int8 has. Without VNNI, x86 processors multiply uint8 by int8 with an
instruction that adds pairs of products in 16 bits and saturates: 2 . 255 . 64 fits, 2 . 255 . 127 does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.family import Family
from sentiment_conv1d.export.graph import Graph, bank_names
from sentiment_conv1d.model.layers import Bank, Dense, Weights

#: Of the embedding: 1 to 255 around 128.
LARGEST_EMBEDDING = 127
ZERO_POINT = LARGEST_EMBEDDING + 1

#: Of a kernel: the most that cannot saturate 16 bits, see above.
LARGEST_WEIGHT = 64

#: Of a feature map: 0 to 255.
STEPS = 255

#: A float32 holds the integers up to here, and ONNX Runtime scales a filter's sum as one.
_LARGEST_BIAS = 2**23

#: ONNX Runtime has a faster convolution for so many channels in and out: 45 against 53 us a review of 209 ids.
_EMBEDDING_ALIGNMENT, _FILTER_ALIGNMENT = 4, 16

Integers = npt.NDArray[np.float64]  # whole numbers: NumPy multiplies float64 fast, and exactly up to 2^53


@dataclass(frozen=True)
class QuantizedEmbedding:
    """An embedding as integers times one scale."""

    integers: Integers  # [vocabulary, embedding], from -127 to 127
    scale: np.float32


@dataclass(frozen=True)
class QuantizedBank:
    """Filters of one width as integers; a filter's maximum m of 0 to 255 stands for `m * step + offset`."""

    kernel: Integers  # [width, embedding, filters], from -64 to 64
    bias: Integers  # [filters], in units of the filter's sum
    scale: Weights  # [filters], of the kernel, such that the feature map counts steps
    step: Weights  # [filters]
    offset: Weights | None  # [filters]; None where a relu puts the least value at 0
    activations: tuple[str, ...]  # what is left to do on the maxima, in order


def quantized_graph(family: Family) -> onnx.ModelProto:
    """tokens int32 [batch, time up to `max_tokens`] -> probabilities float32 [batch, outputs].

    Raises `ExportError` if a maximum is not enough to pool a bank: it is averaged, or has a gelu, which may be largest
    where the sum is least.
    """
    for bank in family.banks:
        if bank.pooling == "mean":
            raise ExportError("average pooling has no int8 form", "export without --quantize")
        if bank.quasiconvex:
            raise ExportError(
                f"a convolution with the activations {', '.join(bank.activations)} has no int8 form",
                "export without --quantize",
            )
    family = _aligned(family)
    embedding = quantize_embedding(family.embedding)
    graph = Graph()
    table = graph.constant("embedding", (embedding.integers + ZERO_POINT).astype(np.uint8))
    graph.constant("embedding_scale", embedding.scale)
    graph.constant("embedding_zero_point", np.uint8(ZERO_POINT))
    graph.constant("map_scale", np.float32(1))
    graph.constant("map_zero_point", np.uint8(0))
    embedded = graph.node("Gather", [table, "tokens"], "embedded", axis=0)
    channels = graph.node("Transpose", [embedded], "channels", perm=[0, 2, 1])
    pooled = [
        _bank(graph, bank, quantize_bank(bank, embedding), family.max_tokens, channels, name)
        for bank, name in zip(family.banks, bank_names(family.banks), strict=True)
    ]
    return graph.classifier(pooled, family.head)


def quantize_embedding(embedding: Weights) -> QuantizedEmbedding:
    """An embedding [vocabulary, embedding] as integers."""
    largest = float(np.abs(embedding).max())
    scale = np.float32(largest / LARGEST_EMBEDDING if largest else 1)
    return QuantizedEmbedding(np.round(embedding / np.float64(scale)), scale)


def quantize_bank(bank: Bank, embedding: QuantizedEmbedding) -> QuantizedBank:
    """Filters as integers, with the steps in which the maxima of any text are counted."""
    bias = bank.bias.astype(np.float64)
    relu = bank.activations[:1] == ("Relu",)
    largest = np.abs(bank.kernel).max(axis=(0, 1)) / LARGEST_WEIGHT
    # A kernel that is next to nothing beside its bias would make an integer of the bias that is too large.
    least = np.abs(bias) / (float(embedding.scale) * _LARGEST_BIAS)
    scale = np.maximum(largest, least)
    scale[scale == 0] = 1
    kernel = np.round(bank.kernel / scale)
    unit = scale * float(embedding.scale)  # what one in a filter's sum is worth

    tables = [embedding.integers @ tap for tap in kernel]
    if any(bank.padding):  # a zero vector adds nothing to the sum
        tables = [np.pad(table, ((0, 1), (0, 0))) for table in tables]
    lowest, highest = sum(table.min(axis=0) for table in tables), sum(table.max(axis=0) for table in tables)
    integer_bias = np.round(bias / unit) if relu else -lowest
    top = highest + integer_bias
    # A filter that never fires, or has one value for every text, needs no steps, but a scale all the same.
    top[top <= 0] = STEPS
    step = top * unit / STEPS
    return QuantizedBank(
        kernel=kernel,
        bias=integer_bias,
        scale=(scale / step).astype(np.float32),
        step=step.astype(np.float32),
        offset=None if relu else (lowest * unit + bias).astype(np.float32),
        activations=bank.activations[1:] if relu else bank.activations,
    )


def _aligned(family: Family) -> Family:
    """The same function, with columns of zeros in the embedding and filters of zeros that the head does not weigh."""
    columns = -family.embedding.shape[1] % _EMBEDDING_ALIGNMENT
    banks, rows, start = [], [], 0
    first: Dense = family.head[0]
    for bank in family.banks:
        filters = bank.kernel.shape[2]
        more = -filters % _FILTER_ALIGNMENT
        kernel = np.pad(bank.kernel, ((0, 0), (0, columns), (0, more)))
        banks.append(replace(bank, kernel=kernel, bias=np.pad(bank.bias, (0, more))))
        rows.append(np.pad(first.kernel[start : start + filters], ((0, more), (0, 0))))
        start += filters
    return replace(
        family,
        embedding=np.pad(family.embedding, ((0, 0), (0, columns))),
        banks=tuple(banks),
        head=(replace(first, kernel=np.concatenate(rows)), *family.head[1:]),
    )


def _bank(graph: Graph, given: Bank, bank: QuantizedBank, max_tokens: int, channels: str, name: str) -> str:
    """The maxima of one bank after its activations: float32 [batch, filters]."""
    filters = len(bank.scale)
    inputs = [
        *(channels, "embedding_scale", "embedding_zero_point"),
        graph.constant(f"{name}_kernel", bank.kernel.transpose(2, 1, 0).astype(np.int8)),
        graph.constant(f"{name}_scale", bank.scale),
        graph.constant(f"kernel_zero_point_{filters}", np.zeros(filters, np.int8)),
        *("map_scale", "map_zero_point"),
    ]
    if bank.bias.any():
        inputs.append(graph.constant(f"{name}_bias", bank.bias.astype(np.int32)))
    sliding: dict[str, Any] = {"dilations": [given.dilation]} if given.dilation > 1 else {}
    if any(given.padding):
        sliding["pads"] = given.padding
    feature_map = graph.node("QLinearConv", inputs, f"{name}_map", **sliding)
    # GlobalMaxPool takes no integers. One window over the longest review is the same, with padding behind a short one.
    longest = max_tokens + sum(given.padding) - given.span + 1
    window: dict[str, Any] = {"kernel_shape": [longest], "strides": [longest], "pads": [0, longest - 1]}
    pooled = graph.node("MaxPool", [feature_map], f"{name}_pooled", **window)
    step = graph.constant(f"{name}_step", bank.step)
    value = graph.node("DequantizeLinear", [pooled, step], f"{name}_value", axis=1)
    value = graph.node("Flatten", [value], f"{name}_flat", axis=1)
    if bank.offset is not None:
        value = graph.node("Add", [value, graph.constant(f"{name}_offset", bank.offset)], f"{name}_shifted")
    return graph.activations(bank.activations, value, name)
