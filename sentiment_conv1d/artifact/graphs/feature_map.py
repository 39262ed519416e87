"""The feature map of a bank: one look-up for each tap, in float32 or in 8 bits, and the sums of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sentiment_conv1d.artifact.graphs.graph import Graph, UnknownGraph
from sentiment_conv1d.artifact.layers import Bank, Family, Weights


def bank_names(banks: Sequence[Bank]) -> list[str]:
    """Name banks by their widths, with a number for the second and later banks of a width."""
    widths = [bank.width for bank in banks]
    repeats = [widths[:index].count(width) for index, width in enumerate(widths)]
    return [f"convolution_{width}" + (f"_{n + 1}" if n else "") for width, n in zip(widths, repeats, strict=True)]


def padded_embedding(graph: Graph, family: Family) -> Weights:
    """Return the embedding, with a row of zeros at the end if a bank pads. The constant `outside` is the row's id."""
    if not any(any(bank.padding) for bank in family.banks):
        return family.embedding
    graph.constant("outside", np.int32(len(family.embedding)))
    return np.pad(family.embedding, ((0, 1), (0, 0)))


def write_feature_map(graph: Graph, bank: Bank, tables: Sequence[str], name: str) -> str:
    """Add up the table look-ups of all taps, in the type of the tables: [1, batch, positions, filters].

    The tables are [1, vocabulary, filters]. If the bank pads, their last row belongs to the padding, and the constant
    `outside` is its id.
    """
    tokens = "tokens"
    if any(bank.padding):
        before, behind = bank.padding
        pads = graph.constant(f"pads_{before}_{behind}", np.array([0, before, 0, behind], np.int64))
        tokens = graph.node("Pad", [tokens, pads, "outside"], f"{name}_padded")
    return write_sums(graph, bank, tables, tokens, name)


def write_sums(graph: Graph, bank: Bank, tables: Sequence[str], tokens: str, name: str) -> str:
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


def read_feature_map(graph: Graph, value: str) -> FeatureMap:
    """Return the tables of a feature map in the order of their taps. Raises `UnknownGraph`."""
    looked_up = _look_ups(graph, value)
    looked_up.sort(key=lambda look_up: look_up.start)
    starts = [look_up.start for look_up in looked_up]
    dilation = starts[1] if len(starts) > 1 else 1
    paddings = {(look_up.padding, look_up.outside) for look_up in looked_up}
    if starts != [tap * dilation for tap in range(len(looked_up))] or len(paddings) != 1:
        raise UnknownGraph
    if any(look_up.end != _end(starts[-1] - look_up.start).item() for look_up in looked_up):
        raise UnknownGraph
    return FeatureMap([look_up.table for look_up in looked_up], dilation, *paddings.pop())


class FeatureMap(NamedTuple):
    """The names of the tables, and how the look-ups read the text."""

    tables: list[str]
    dilation: int
    padding: tuple[int, int]
    outside: int  # the id of the padding, and 0 without padding


class _LookUp(NamedTuple):
    """One look-up of a sum: the first and the last position of the ids, the table, and the padding of the text."""

    start: int
    end: int
    table: str
    padding: tuple[int, int] = (0, 0)
    outside: int = 0


def _look_ups(graph: Graph, value: str) -> list[_LookUp]:
    """Return every look-up of a sum."""
    if graph.operator(value) == "Add":
        return [look_up for each in graph.inputs(value, "Add") for look_up in _look_ups(graph, each)]
    table, ids = graph.inputs(value, "Gather")
    looked_up = _LookUp(0, _end(0).item(), table)
    if graph.nodes[value].attributes != {"axis": 1}:
        raise UnknownGraph
    if graph.operator(ids) == "Slice":
        ids, *bounds = graph.inputs(ids, "Slice")
        numbers = [number for name in bounds for number in graph.integers(name)]
        if len(numbers) != 3 or numbers[2] != 1:
            raise UnknownGraph
        looked_up = looked_up._replace(start=numbers[0], end=numbers[1])
    if graph.operator(ids) == "Pad":
        ids, pads, *outside = graph.inputs(ids, "Pad")
        pad_counts = graph.integers(pads)
        if len(pad_counts) != 4 or pad_counts[0] or pad_counts[2] or len(outside) != 1:
            raise UnknownGraph
        looked_up = looked_up._replace(padding=(pad_counts[1], pad_counts[3]), outside=graph.id(outside[0]))
    if ids != "tokens":
        raise UnknownGraph
    return [looked_up]
