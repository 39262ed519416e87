"""Spells a text with what its characters become.

A text is split into characters that become others and the strings between them. What is removed belongs to neither. A
loop then joins neighbours in pairs until one string is left, so it has few rounds, and each copies the text once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.artifact.graphs.text.characters import character_class, literal
from sentiment_conv1d.artifact.graphs.text.writer import BOOL, INT64, STRING, Writer, declared

_COLUMNS, _EVERY_SECOND, _END = np.array([1]), np.array([2]), np.array([np.iinfo(np.int64).max])

#: More rounds than a text has.
_ROUNDS = np.int64(64)


def write_respelled(writer: Writer, text: str, others: Mapping[str, str], removed: frozenset[str]) -> str:
    """Return the name of texts string [batch] in which strings have become `others`, without `removed` characters.

    Where several strings match, the longest one becomes another.
    """
    parts = writer.split(text, _expression(others, removed), "parts", filling="")
    if others:
        become = writer.translate(parts, others, "others")
        becomes = writer.look_up(parts, dict.fromkeys(others, 1), 0, "becomes_number")
        becomes = writer.node("Cast", [becomes], "becomes_another", to=BOOL)
        parts = writer.node("Where", [becomes, become, parts], "spelled_parts")
    return write_joined(writer, parts)


def _expression(others: Iterable[str], removed: frozenset[str]) -> str:
    """Return an expression that matches any part: a string that becomes another, a character with which one begins, or
    what is between such characters.
    """
    first = {each[0] for each in others}
    single = {each for each in others if len(each) == 1} | (first - removed)
    alternatives = [literal(each) for each in others if len(each) > 1]
    alternatives += [character_class(single)] if single else []
    alternatives.append(f"{character_class(first | removed, negated=True)}+")
    return "|".join(alternatives)


def write_joined(writer: Writer, parts: str) -> str:
    """Return the name of the strings [batch] that the parts string [batch, parts] of each text form."""
    strings = _write_with_column(writer, parts)
    again = _write_several(writer, strings)
    joined = writer.nodes("Loop", [_ROUNDS, again, strings], ["joined"], body=_round(writer.prefix))[0]
    return writer.node("Squeeze", [joined, _COLUMNS], "spelled")


def _round(outer: str) -> onnx.Graph:
    """Return a round of the loop, which joins the strings in columns 0 and 1, 2 and 3, and so on."""
    body = onnx.Graph(name="join_pairs")
    prefix = f"{outer}join_pairs/"
    number, again, strings = (prefix + each for each in ("number", "again", "strings"))
    body.input.extend([declared(number, INT64), declared(again, BOOL), declared(strings, STRING, "batch", "parts")])
    writer = Writer(body, prefix)
    first = writer.node("Slice", [strings, np.array([0]), _END, _COLUMNS, _EVERY_SECOND], "first")
    even = _write_with_column(writer, strings)
    second = writer.node("Slice", [even, np.array([1]), _END, _COLUMNS, _EVERY_SECOND], "second")
    pairs = writer.node("StringConcat", [first, second], "pairs")
    body.output.extend([declared(_write_several(writer, pairs), BOOL), declared(pairs, STRING, "batch", "pairs")])
    return body


def _write_with_column(writer: Writer, strings: str) -> str:
    """Return the name of strings [batch, parts] and a last column of empty strings."""
    batch = writer.node("Shape", [strings], "batch", end=1)
    shape = writer.node("Concat", [batch, _COLUMNS], "column_shape", axis=0)
    column = writer.node("Expand", [writer.strings([""], [1, 1], "nothing"), shape], "column")
    return writer.node("Concat", [strings, column], "with_column", axis=1)


def _write_several(writer: Writer, strings: str) -> str:
    """Return the name of whether strings [batch, parts] have more than one column: bool."""
    width = writer.node("Squeeze", [writer.node("Shape", [strings], "width", start=1)], "width_number")
    return writer.node("Greater", [width, np.int64(1)], "has_several")
