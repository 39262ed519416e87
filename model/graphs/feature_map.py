"""The feature map of a bank: one look-up for each tap, in float32 or in 8 bits, and the sums of the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sentiment_conv1d.model.graphs.graph import Graph, UnknownGraph
from sentiment_conv1d.model.layers import Bank, Family, Weights


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


def read_feature_map(graph: Graph, value: str) -> tuple[list[str], int, tuple[int, int]]:
    """Return the tables of a feature map in the order of their taps, its dilation, and the padding of the text.

    Raises `UnknownGraph`.
    """
    looked_up = _look_ups(graph, value)
    tables = {offset: table for offset, table, _ in looked_up}
    offsets = sorted(tables)
    dilation = offsets[1] if len(offsets) > 1 else 1
    paddings = {padding for *_, padding in looked_up}
    if offsets != [tap * dilation for tap in range(len(looked_up))] or len(paddings) != 1:
        raise UnknownGraph
    return [tables[offset] for offset in offsets], dilation, paddings.pop()


def _look_ups(graph: Graph, value: str) -> list[tuple[int, str, tuple[int, int]]]:
    """Return every look-up of a sum: the position in the window, the table, and the padding of the text."""
    if graph.operator(value) == "Add":
        return [look_up for each in graph.inputs(value, "Add") for look_up in _look_ups(graph, each)]
    table, ids = graph.inputs(value, "Gather")
    start = 0
    if graph.operator(ids) == "Slice":
        ids, start_name, *_ = graph.inputs(ids, "Slice")
        start = graph.integers(start_name)[0]
    before = behind = 0
    if graph.operator(ids) == "Pad":
        ids, pads, *_ = graph.inputs(ids, "Pad")
        pad_counts = graph.integers(pads)
        if len(pad_counts) != 4:
            raise UnknownGraph
        _, before, _, behind = pad_counts
    if ids != "tokens":
        raise UnknownGraph
    return [(start, table, (before, behind))]
