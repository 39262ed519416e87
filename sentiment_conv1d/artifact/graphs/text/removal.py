"""Reads words inside which a tokenizer removes characters, such as an apostrophe.

A word is found with the removed characters between its first and its last letter. What has no id then is split at them
and looked up again without them, which is little of a text. A long word can have as many parts as characters, and every
other word would get as many columns, so its text takes the branch in which words are joined.
"""

from __future__ import annotations

import numpy as np

from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.artifact.graphs.text.characters import Characters, character_class
from sentiment_conv1d.artifact.graphs.text.writer import BOOL, FILLING, INT64, NO_ID, STRING, Writer, declared

#: A word of so many characters is long.
_LONG = 40

#: Stands for the id of a word that is not known as it stands. `NO_ID` may be that of an unknown word.
_NOT_YET = NO_ID - 1


def whole_word(characters: Characters) -> str:
    """Return an expression that matches a word from its first to its last letter."""
    inner = character_class(characters.separators, negated=True)
    letter = character_class(characters.separators | characters.removed, negated=True)
    return f"{letter}(?:{inner}*{letter})?"


def long_word(characters: Characters) -> str:
    """Return an expression that matches in every word that is too long for `write_ids_without`.

    It knows only the separators of ASCII: RE2 runs out of memory if it repeats a class of thousands of characters.
    """
    return f"{character_class(filter(str.isascii, characters.separators), negated=True)}{{{_LONG}}}"


def write_ids_without(
    writer: Writer, words: str, removed: frozenset[str], known: dict[str, int], unknown_id: int
) -> str:
    """Return the name of the ids int64 [batch, words] of words string [batch, words] without these characters."""
    ids = writer.look_up(words, known | {FILLING: NO_ID}, _NOT_YET, "ids_as_found")
    missing = writer.node("Equal", [ids, np.int64(_NOT_YET)], "has_no_id")
    places = writer.node("NonZero", [missing], "places_without_id")
    exists = writer.node("Cast", [writer.node("Size", [places], "missing_count")], "misses_ids", to=BOOL)
    again, found = (Writer(onnx.Graph(name=name), f"{writer.prefix}{name}/") for name in ("again", "found"))
    found.output(found.node("Identity", [ids], "ids"), INT64, "batch", "words")
    places = again.node("Transpose", [places], "places")
    joined = _write_joined(again, again.node("GatherND", [words, places], "words"), removed)
    numbers = again.look_up(joined, known, unknown_id, "joined_ids")
    again.output(again.node("ScatterND", [ids, places, numbers], "ids"), INT64, "batch", "words")
    return writer.choose(exists, again, found, "ids")


def _write_joined(writer: Writer, words: str, removed: frozenset[str]) -> str:
    """Return the name of the words string [some] without these characters. There is at least one word."""
    expression = f"{character_class(removed, negated=True)}+"
    parts = writer.split(words, expression, "parts", filling="")
    count = writer.node("Squeeze", [writer.node("Shape", [parts], "width", start=1)], "count")
    nothing = writer.strings([""], [1], "nothing")
    return writer.nodes("Loop", [count, np.bool_(True), nothing], ["joined"], body=_round(parts, writer.prefix))[0]


def _round(parts: str, outer: str) -> onnx.Graph:
    """Return a round of the loop, which appends a column of the parts."""
    body = onnx.Graph(name="append")
    prefix = f"{outer}append/"
    number, goes_on, words = (prefix + each for each in ("number", "goes_on", "words"))
    body.input.extend([declared(number, INT64), declared(goes_on, BOOL), declared(words, STRING, "some")])
    writer = Writer(body, prefix)
    part = writer.node("Gather", [parts, number], "part", axis=1)
    longer = writer.node("StringConcat", [words, part], "longer")
    body.output.extend([declared(writer.node("Identity", [goes_on], "still"), BOOL), declared(longer, STRING, "words")])
    return body
