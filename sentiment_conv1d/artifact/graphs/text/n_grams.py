"""Cuts words into the longest known n-grams, from left to right.

The longest n-gram that starts at a character tells where the next one starts. A loop finds the characters at which one
does: in round k, it marks what is 2^k n-grams behind a marked character.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.artifact.graphs.text.characters import Characters
from sentiment_conv1d.artifact.graphs.text.single import CHARACTER
from sentiment_conv1d.artifact.graphs.text.writer import BOOL, FILLING, INT64, NO_ID, PREFIX, Writer, declared

_SEPARATES, _BECOMES_ANOTHER = 1, 2

_ONE = np.int64(1)


def write_n_grams(writer: Writer, text: str, characters: Characters, known: Mapping[str, int], unknown_id: int) -> str:
    """Return the name of the ids int64 [batch, parts] of texts string [batch], where their n-grams start."""
    parts = _write_parts(writer, text, characters)
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


def _write_longest(writer: Writer, parts: _Parts, known: Mapping[str, int], unknown_id: int) -> tuple[str, str]:
    """Return the names of the id and of the length of the longest n-gram at each character: int64 [batch, parts]."""
    sizes: dict[int, dict[str, int]] = {}
    for gram, number in known.items():
        sizes.setdefault(len(gram), {})[gram] = number
    grams = parts.strings
    ids = writer.look_up(grams, sizes.get(1, {}), unknown_id, "ids_of_1")
    lengths = writer.node("Expand", [_ONE, writer.node("Shape", [ids], "ids_shape")], "lengths_of_1")
    for size in range(2, max(sizes, default=1) + 1):
        inner = Writer(writer.graph, f"{PREFIX}{size}/")
        taken = parts.write_taken(inner, parts.strings, *parts.write_same_word(inner, np.int64(size - 1)))
        grams = inner.node("StringConcat", [grams, taken], "n_grams")
        longer = inner.look_up(grams, sizes.get(size, {}), NO_ID, "longer_ids")
        found = inner.node("Greater", [longer, np.int64(NO_ID)], "found")
        ids = inner.node("Where", [found, longer, ids], "ids")
        lengths = inner.node("Where", [found, np.int64(size), lengths], "lengths")
    return ids, lengths


def _round(parts: _Parts) -> onnx.Graph:
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
    positive = writer.node("Add", [number, _ONE], "positive")
    reached = writer.node("ScatterElements", [number, targets, positive], "reached_number", axis=1)
    reached = writer.node("Cast", [reached], "reached", to=BOOL)
    further = writer.node("GatherElements", [behind, behind], "further", axis=1)
    earliest = writer.node("ReduceMin", [behind], "earliest", keepdims=0)
    goes_on = writer.node("Less", [earliest, parts.last], "goes_on")
    body.output.extend([declared(goes_on, BOOL), declared(reached, BOOL, *shape), declared(further, INT64, *shape)])
    return body


@dataclass(frozen=True)
class _Parts:
    """The names of values about the characters of texts. The last one of every text separates."""

    strings: str  # string [batch, parts]
    separates: str  # bool [batch, parts]: whether a character separates words
    places: str  # int64 [parts]: 0, 1, 2, ...
    last: str  # int64: the last place
    here: (
        str  # int64 [batch, parts]: the number of the word of each character, and one that `there` lacks for separators
    )
    there: str  # int64 [batch, parts]: the same, and one that `here` lacks for separators

    def write_same_word(self, writer: Writer, distance: str | np.int64) -> tuple[str, str]:
        """Return the places so much further, int64 [parts], and bool [batch, parts]: whether the same word is there."""
        place = writer.node("Add", [self.places, distance], "beyond")
        place = writer.node("Min", [place, self.last], "place")
        there = writer.node("Gather", [self.there, place], "word_at_place", axis=1)
        return place, writer.node("Equal", [there, self.here], "same_word")

    def write_taken(self, writer: Writer, strings: str, place: str, same: str) -> str:
        """Return what stands at places, string [batch, parts], and an empty string for another word."""
        taken = writer.node("Gather", [strings, place], "string_at_place", axis=1)
        return writer.node("Where", [same, taken, writer.strings([""], [], "nothing")], "taken")


def _write_parts(writer: Writer, text: str, characters: Characters) -> _Parts:
    """Split texts string [batch] into characters."""
    found = writer.split(text, CHARACTER, "found_parts")
    batch = writer.node("Shape", [found], "batch", end=1)
    shape = writer.node("Concat", [batch, np.array([1])], "column_shape", axis=0)
    filling = writer.node("Expand", [writer.filling(), shape], "last_column")
    strings = writer.node("Concat", [found, filling], "parts", axis=1)
    kinds = dict.fromkeys(characters.respelled, _BECOMES_ANOTHER)
    kinds |= dict.fromkeys([*sorted(characters.separators), FILLING], _SEPARATES)
    kind = writer.look_up(strings, kinds, 0, "kinds")
    separates = writer.node("Equal", [kind, np.int64(_SEPARATES)], "separates")
    if characters.respelled:
        others = writer.translate(strings, characters.respelled, "others")
        becomes = writer.node("Equal", [kind, np.int64(_BECOMES_ANOTHER)], "becomes_another")
        strings = writer.node("Where", [becomes, others, strings], "normal_parts")
    return _numbered(writer, strings, separates)


def _numbered(writer: Writer, strings: str, separates: str) -> _Parts:
    width = writer.node("Shape", [strings], "width", start=1)
    width = writer.node("Squeeze", [width], "width_number")
    last = writer.node("Sub", [width, _ONE], "last_place")
    places = writer.node("Range", [np.int64(0), width, _ONE], "places")
    word = writer.node("Cast", [separates], "separator_numbers", to=INT64)
    word = writer.node("CumSum", [word, _ONE], "word_numbers")
    here = writer.node("Where", [separates, np.int64(-1), word], "word_here")
    there = writer.node("Where", [separates, np.int64(-2), word], "word_there")
    return _Parts(strings, separates, places, last, here, there)
