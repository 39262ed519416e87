"""Cuts words into the longest known n-grams, from left to right.

The longest n-gram that starts at a character tells where the next one starts. A loop finds the characters at which one
does: in round k, it marks what is 2^k n-grams behind a marked character.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.artifact.graphs.text.characters import Characters
from sentiment_conv1d.artifact.graphs.text.parts import ONE, Parts, write_parts
from sentiment_conv1d.artifact.graphs.text.single import CHARACTER
from sentiment_conv1d.artifact.graphs.text.writer import BOOL, INT64, NO_ID, PREFIX, Writer, declared


def write_n_grams(writer: Writer, text: str, characters: Characters, known: Mapping[str, int], unknown_id: int) -> str:
    """Return the name of the ids int64 [batch, parts] of texts string [batch], where their n-grams start."""
    parts = write_parts(writer, text, characters, CHARACTER)
    ids, lengths = _write_longest(writer, parts, known, unknown_id)
    behind = writer.node("Add", [parts.places, lengths], "behind")
    behind = writer.node("Min", [behind, parts.last], "next")
    first = writer.node("Equal", [parts.places, np.int64(0)], "is_first")
    shape = writer.node("Shape", [behind], "parts_shape")
    first = writer.node("Expand", [first, shape], "marked_first")
    body = _round(parts)
    limit = np.int64(np.iinfo(np.int64).max)
    marked, _ = writer.nodes("Loop", [limit, np.bool_(True), first, behind], ["marked", "last_next"], body=body)
    in_a_word = writer.node("Not", [parts.separates], "in_a_word")
    read = writer.node("And", [marked, in_a_word], "starts_an_n_gram")
    return writer.node("Where", [read, ids, np.int64(NO_ID)], "ids")


def _write_longest(writer: Writer, parts: Parts, known: Mapping[str, int], unknown_id: int) -> tuple[str, str]:
    """Return the names of the id and of the length of the longest n-gram at each character: int64 [batch, parts]."""
    sizes: dict[int, dict[str, int]] = {}
    for gram, number in known.items():
        sizes.setdefault(len(gram), {})[gram] = number
    grams = parts.strings
    ids = writer.look_up(grams, sizes.get(1, {}), unknown_id, "ids_of_1")
    lengths = writer.node("Expand", [ONE, writer.node("Shape", [ids], "ids_shape")], "lengths_of_1")
    for size in range(2, max(sizes, default=1) + 1):
        inner = Writer(writer.graph, f"{PREFIX}{size}/")
        taken = parts.write_taken(inner, parts.strings, *parts.write_same_word(inner, np.int64(size - 1)))
        grams = inner.node("StringConcat", [grams, taken], "n_grams")
        longer = inner.look_up(grams, sizes.get(size, {}), NO_ID, "longer_ids")
        found = inner.node("Greater", [longer, np.int64(NO_ID)], "found")
        ids = inner.node("Where", [found, longer, ids], "ids")
        lengths = inner.node("Where", [found, np.int64(size), lengths], "lengths")
    return ids, lengths


def _round(parts: Parts) -> onnx.Graph:
    """Return a round of the loop, which reads values of the graph around it."""
    body = onnx.Graph(name="mark")
    prefix = f"{PREFIX}mark/"
    count, again, marked, behind = (prefix + each for each in ("count", "again", "marked", "behind"))
    shape = "batch", "parts"
    body.input.extend(
        [declared(count, INT64), declared(again, BOOL), declared(marked, BOOL, *shape), declared(behind, INT64, *shape)]
    )
    writer = Writer(body, prefix)
    targets = writer.node("Where", [marked, behind, parts.last], "targets")
    number = writer.node("Cast", [marked], "marked_number", to=INT64)
    positive = writer.node("Add", [number, ONE], "positive")
    reached = writer.node("ScatterElements", [number, targets, positive], "reached_number", axis=1)
    reached = writer.node("Cast", [reached], "reached", to=BOOL)
    further = writer.node("GatherElements", [behind, behind], "further", axis=1)
    earliest = writer.node("ReduceMin", [behind], "earliest", keepdims=0)
    goes_on = writer.node("Less", [earliest, parts.last], "goes_on")
    body.output.extend([declared(goes_on, BOOL), declared(reached, BOOL, *shape), declared(further, INT64, *shape)])
    return body
