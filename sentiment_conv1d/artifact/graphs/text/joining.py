"""Joins the parts of words of which no look-up can list all spellings.

In round k of a loop, every part takes over what the part 2^k places further has joined, unless that belongs to another
word. The loop ends when no word goes on, or when what is joined is longer than every known word.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.artifact.graphs.text.characters import Characters, character_class, literal
from sentiment_conv1d.artifact.graphs.text.parts import ONE, Parts, write_parts
from sentiment_conv1d.artifact.graphs.text.writer import BOOL, INT64, STRING, Writer, declared


def write_joined_words(
    writer: Writer,
    text: str,
    characters: Characters,
    replaced: Sequence[str],
    longest: int,
) -> str:
    """Return the name of the words string [batch, parts] of texts string [batch], where they start.

    `FILLING` is in all other places. `longest` is the number of characters of the longest known word.
    """
    spaces = [spelled for each in _reachable(replaced) for spelled in characters.spellings(each)]
    parts = write_parts(writer, text, characters, _expression(characters, spaces), spaces)
    words = _write_words(writer, parts, longest)
    return writer.node("Where", [_write_starts(writer, parts), words, writer.filling()], "words")


def _reachable(replaced: Sequence[str]) -> list[str]:
    """Return the strings that can be found. Of two that match, the first one wins, and the longest for RE2."""
    return [each for place, each in enumerate(replaced) if not each.startswith(tuple(replaced[:place]))]


def _expression(characters: Characters, spaces: Sequence[str]) -> str:
    """Return an expression that matches any part."""
    single = characters.separators | characters.respelled.keys() | {each[0] for each in spaces}
    alternatives = [*map(literal, spaces), f"{character_class(single | characters.removed, negated=True)}+"]
    return "|".join([*alternatives, character_class(single - characters.removed)])


def _write_starts(writer: Writer, parts: Parts) -> str:
    """Return the name of whether a word starts at a part: bool [batch, parts]."""
    number = writer.node("Cast", [parts.separates], "separators", to=INT64)
    before = writer.node("Pad", [number, np.array([0, 1, 0, -1]), ONE], "separators_before")
    within = writer.node("Equal", [before, np.int64(0)], "follows_a_part")
    no_start = writer.node("Or", [within, parts.separates], "starts_no_word")
    return writer.node("Not", [no_start], "starts_a_word")


def _write_words(writer: Writer, parts: Parts, longest: int) -> str:
    """Return the name of the strings from each part to the end of its word: string [batch, parts].

    Of a word with more than `longest` parts, the string may end before, but has more characters than `longest`.
    """
    rounds = np.int64(longest.bit_length())
    _, same = parts.write_same_word(writer, ONE)
    body = _round(parts, writer.prefix)
    return writer.nodes("Loop", [rounds, _any(writer, same), parts.strings, ONE], ["joined", "distance"], body=body)[0]


def _round(parts: Parts, outer: str) -> onnx.Graph:
    """Return a round of the loop, which reads values of the graph around it."""
    body = onnx.Graph(name="join")
    prefix = f"{outer}join/"
    number, again, words, distance = (prefix + each for each in ("number", "again", "words", "distance"))
    strings = STRING, "batch", "parts"
    body.input.extend(
        [declared(number, INT64), declared(again, BOOL), declared(words, *strings), declared(distance, INT64)]
    )
    writer = Writer(body, prefix)
    taken = parts.write_taken(writer, words, *parts.write_same_word(writer, distance))
    joined = writer.node("StringConcat", [words, taken], "joined")
    after = Writer(body, f"{prefix}next/")
    further = after.node("Add", [distance, distance], "distance")
    _, same = parts.write_same_word(after, further)
    body.output.extend([declared(_any(after, same), BOOL), declared(joined, *strings), declared(further, INT64)])
    return body


def _any(writer: Writer, values: str) -> str:
    """Return whether one of several values is true: bool."""
    number = writer.node("Cast", [values], "any_number", to=INT64)
    return writer.node("Cast", [writer.node("ReduceMax", [number], "any_most", keepdims=0)], "any", to=BOOL)
