"""Looks up the pieces of texts that have ids: words, or n-grams of their characters.

`Tokenizer` finds words by a regular expression of RE2, after `StringNormalizer` lower-cased ASCII. A text with capitals
beyond ASCII, or with other characters that become different ones, takes another branch, in which words are joined from
their parts. If the rule removes characters or replaces strings, words are joined in both branches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from sentiment_conv1d.model.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.model.graphs.text.characters import Characters, character_class, is_writable
from sentiment_conv1d.model.graphs.text.joining import write_joined_words
from sentiment_conv1d.model.graphs.text.n_grams import write_n_grams
from sentiment_conv1d.model.graphs.text.writer import FILLING, NO_ID, PREFIX, STRING, Writer
from sentiment_conv1d.model.tokenizer import Tokenizer


def write_pieces(writer: Writer, text: str, tokenizer: Tokenizer) -> str:
    """Return the name of the ids int64 [batch, pieces] of texts string [batch], with `NO_ID` for what has none.

    Raises `TextGraphError`.
    """
    characters = Characters.of(tokenizer)
    known = {word: number for word, number in tokenizer.known_ids.items() if is_writable(word)}
    unknown_id = NO_ID if tokenizer.unknown_id is None else tokenizer.unknown_id
    if tokenizer.cuts_characters:
        return write_n_grams(writer, text, characters, known, unknown_id)
    words = _write_words(writer, text, characters, tokenizer.replaced, max(map(len, known), default=0))
    return writer.look_up(words, known | {FILLING: NO_ID}, unknown_id, "ids")


def _write_words(writer: Writer, text: str, characters: Characters, replaced: Sequence[str], longest: int) -> str:
    """Return the name of the words string [batch, words], with `FILLING` in other places."""
    if not characters.risky:
        return _write_plain_words(writer, text, characters, replaced, longest)
    plain, joined = (Writer(onnx.Graph(name=name), f"{PREFIX}{name}/") for name in ("plain", "joined"))
    plain.output(_write_plain_words(plain, text, characters, replaced, longest), STRING, "batch", "plain_words")
    joined.output(write_joined_words(joined, text, characters, replaced, longest), STRING, "batch", "joined_words")
    found = writer.split(text, character_class(characters.risky), "risky_characters")
    is_risky = writer.node("Greater", [writer.node("Size", [found], "risky_count"), np.int64(0)], "is_risky")
    return writer.choose(is_risky, joined, plain, "words")


def _write_plain_words(writer: Writer, text: str, characters: Characters, replaced: Sequence[str], longest: int) -> str:
    """Return the name of the words of texts without risky characters."""
    if characters.lowers_ascii:
        text = writer.node("StringNormalizer", [text], "lower_case", case_change_action="LOWER", locale="C")
        characters = dataclasses.replace(characters, respelled={})
    if characters.removed or replaced:
        return write_joined_words(writer, text, characters, replaced, longest)
    return writer.split(text, f"{character_class(characters.separators, negated=True)}+", "whole_words")
