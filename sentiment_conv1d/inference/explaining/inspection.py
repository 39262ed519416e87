"""All intermediate values between a text and its prediction, in the form of the API."""

from __future__ import annotations

from dataclasses import dataclass
from operator import mul
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, GetPydanticSchema

from sentiment_conv1d.artifact.explaining.attribution import Attribution
from sentiment_conv1d.artifact.explaining.forward import Pass, Pooled
from sentiment_conv1d.artifact.explaining.network import Network
from sentiment_conv1d.artifact.layers import Pooling, Weights

# Arrays, with the schemas of their JSON form.
Vector = Annotated[Weights, GetPydanticSchema(lambda _, handler: handler(list[float]))]
Matrix = Annotated[Weights, GetPydanticSchema(lambda _, handler: handler(list[list[float]]))]
Numbers = Annotated[npt.NDArray[np.int64], GetPydanticSchema(lambda _, handler: handler(list[int]))]


@dataclass(slots=True)
class FilterView:
    """One filter at every position of the text."""

    bank: Annotated[int, Field(description="Its index in `banks`.")]
    width: int
    index: Annotated[int, Field(description="Its index among the filters of its width.")]
    kernel: Annotated[Matrix, Field(description="[width][embedding].")]
    bias: float
    curve: Annotated[Vector, Field(description="The dot product at every position, without the bias.")]
    position: Annotated[int, Field(description="The pooled position; for average pooling, the highest one.")]
    activation: Annotated[float, Field(description="The pooled value, after bias and activation.")]
    weight: Annotated[float, Field(description="The factor by which the activation moves the logit.")]


@dataclass(slots=True)
class BankView:
    """The filters of one convolution after pooling."""

    width: int
    filters: int
    first: Annotated[int, Field(description="Index of its first filter among the filters of its width.")]
    dilation: Annotated[int, Field(description="The distance between the words under a filter.")]
    padding: Annotated[tuple[int, int], Field(description="Zero vectors before the ids, and after them.")]
    pooling: Annotated[Pooling, Field(description="The pooling of the activated sums.")]
    activations: Annotated[tuple[str, ...], Field(description="ONNX operators after the bias.")]
    positions: Annotated[Numbers, Field(description="The position where each filter is highest.")]
    pooled: Vector
    weights: Annotated[Vector, Field(description="The factor by which each pooled value moves the logit.")]
    feature_map: Annotated[Matrix | None, Field(description="[positions][filters], without the bias.")]


@dataclass(slots=True)
class LayerView:
    """One dense layer."""

    units: int
    activations: Annotated[tuple[str, ...], Field(description="ONNX operators.")]
    values: Vector
    weights: Annotated[Vector, Field(description="The factor by which each value moves the logit.")]


@dataclass(slots=True)
class Inspection:
    """All intermediate values of one text, padded to the full sequence length of the model."""

    ids: npt.NDArray[np.int32]  # [sequence_length]
    first_word: int  # position of the first word
    embedding: Weights  # [sequence_length, embedding]: what the filter reads of each word
    filter: FilterView
    banks: list[BankView]
    layers: list[LayerView]  # the last one computes the logits
    final: str  # the ONNX operator that turns logits into probabilities


def inspect(
    network: Network, taken: Pass, attribution: Attribution, number: int, first_word: int, *, feature_map: bool
) -> Inspection:
    """Return the values of a forward pass, with one filter in full. `number` is its number over all banks."""
    banks: list[BankView] = []
    chosen: FilterView | None = None
    embedding: Weights | None = None
    first = 0
    for place, pooled in enumerate(taken.pooled):
        bank = pooled.bank
        filters = len(pooled.values)
        weights = np.ascontiguousarray(attribution.weights[first : first + filters])
        curves = pooled.feature_map
        banks.append(
            BankView(
                bank.width,
                filters,
                sum(each.filters for each in banks if each.width == bank.width),
                bank.dilation,
                bank.padding,
                bank.pooling,
                bank.activations,
                pooled.positions.astype(np.int64),
                pooled.values,
                weights,
                curves if feature_map else None,
            )
        )
        index = number - first
        if 0 <= index < filters:
            chosen = FilterView(
                place,
                bank.width,
                banks[-1].first + index,
                np.ascontiguousarray(bank.kernel[:, :, index]),
                float(bank.bias[index]),
                np.ascontiguousarray(curves[:, index]),
                int(pooled.positions[index]),
                float(pooled.values[index]),
                float(weights[index]),
            )
            embedding = _embedding(network, pooled, taken.tokens, index)
        first += filters
    assert chosen is not None and embedding is not None, "the number is that of a filter"
    layers = [
        LayerView(len(layer.values), dense.activations, layer.values, weights)
        for dense, layer, weights in zip(network.head, taken.layers, attribution.layers, strict=True)
    ]
    return Inspection(taken.tokens, first_word, embedding, chosen, banks, layers, network.final)


def count_numbers(network: Network, length: int, *, feature_map: bool) -> int:
    """Return how many numbers the arrays of an inspection of `length` ids have at most, without computing them."""
    banks = network.banks
    positions = [length + sum(bank.padding) - bank.span + 1 for bank in banks]
    filters = [len(bank.bias) for bank in banks]
    columns = max(bank.width for bank in banks) if network.embedding is None else network.embedding.shape[1]
    kernel = max(bank.kernel.size // len(bank.bias) for bank in banks)
    maps = sum(map(mul, positions, filters)) if feature_map else 0
    units = sum(len(dense.bias) for dense in network.head)
    return length * (1 + columns) + kernel + max(positions) + 3 * sum(filters) + maps + 2 * units


def _embedding(network: Network, pooled: Pooled, tokens: npt.NDArray[np.int32], index: int) -> Weights:
    """Return the numbers that a filter reads of each word. An 8-bit graph has only the part that it adds at each
    tap.
    """
    if network.embedding is not None:
        return network.embedding[tokens]
    words = np.broadcast_to(tokens[:, np.newaxis], (len(tokens), pooled.bank.width))
    return pooled.tables.parts(words, np.full(len(tokens), index))
