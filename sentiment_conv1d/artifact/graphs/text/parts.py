"""Splits texts into parts of words: strings that keep their spelling, and single characters.

A part is a string that the rule keeps as it is, or a character that separates words or becomes another. Removed
characters belong to no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sentiment_conv1d.artifact.graphs.text.characters import Characters
from sentiment_conv1d.artifact.graphs.text.writer import FILLING, INT64, Writer

_SEPARATES, _BECOMES_ANOTHER = 1, 2

ONE = np.int64(1)


@dataclass(frozen=True)
class Parts:
    """The names of values about the parts of texts. The last part of every text separates."""

    strings: str  # string [batch, parts]
    separates: str  # bool [batch, parts]: whether a part separates words
    places: str  # int64 [parts]: 0, 1, 2, ...
    last: str  # int64: the last place
    here: str  # int64 [batch, parts]: the number of the word of each part, and one that `there` lacks for separators
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


def write_parts(
    writer: Writer, text: str, characters: Characters, expression: str, spaces: Sequence[str] = ()
) -> Parts:
    """Split texts string [batch] by a regular expression of RE2. `spaces` are strings that separate words too."""
    found = writer.split(text, expression, "found_parts")
    batch = writer.node("Shape", [found], "batch", end=1)
    shape = writer.node("Concat", [batch, np.array([1])], "column_shape", axis=0)
    filling = writer.node("Expand", [writer.filling(), shape], "last_column")
    strings = writer.node("Concat", [found, filling], "parts", axis=1)
    kinds = dict.fromkeys(characters.respelled, _BECOMES_ANOTHER)
    kinds |= dict.fromkeys([*sorted(characters.separators), *spaces, FILLING], _SEPARATES)
    kind = writer.look_up(strings, kinds, 0, "kinds")
    separates = writer.node("Equal", [kind, np.int64(_SEPARATES)], "separates")
    if characters.respelled:
        others = writer.translate(strings, characters.respelled, "others")
        becomes = writer.node("Equal", [kind, np.int64(_BECOMES_ANOTHER)], "becomes_another")
        strings = writer.node("Where", [becomes, others, strings], "normal_parts")
    return _numbered(writer, strings, separates)


def _numbered(writer: Writer, strings: str, separates: str) -> Parts:
    width = writer.node("Shape", [strings], "width", start=1)
    width = writer.node("Squeeze", [width], "width_number")
    last = writer.node("Sub", [width, ONE], "last_place")
    places = writer.node("Range", [np.int64(0), width, ONE], "places")
    word = writer.node("Cast", [separates], "separator_numbers", to=INT64)
    word = writer.node("CumSum", [word, ONE], "word_numbers")
    here = writer.node("Where", [separates, np.int64(-1), word], "word_here")
    there = writer.node("Where", [separates, np.int64(-2), word], "word_there")
    return Parts(strings, separates, places, last, here, there)
