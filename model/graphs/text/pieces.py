"""Looks up the pieces of texts that have ids: words, or n-grams of their characters.

`Tokenizer` finds words by a regular expression of RE2, after `StringNormalizer` lower-cased ASCII. A text with capitals
beyond ASCII, or with other characters that become different ones, takes another branch, in which words are joined from
their parts. So do all texts if the rule removes characters or replaces strings.
"""

from __future__ import annotations

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
    longest = max(map(len, known), default=0)
    if characters.removed or tokenizer.replaced:
        text = _write_lowered(writer, text, characters)
        words = write_joined_words(writer, text, characters, tokenizer.replaced, longest)
    else:
        words = _write_words(writer, text, characters, longest)
    return writer.look_up(words, known | {FILLING: NO_ID}, unknown_id, "ids")


def _write_words(writer: Writer, text: str, characters: Characters, longest: int) -> str:
    """Return the name of the words string [batch, words]."""
    if not characters.risky:
        return _write_whole_words(writer, text, characters)
    whole, joined = (Writer(onnx.Graph(name=name), f"{PREFIX}{name}/") for name in ("whole", "joined"))
    whole.output(_write_whole_words(whole, text, characters), STRING, "batch", "whole_words")
    joined.output(write_joined_words(joined, text, characters, (), longest), STRING, "batch", "joined_words")
    return writer.choose(_write_is_risky(writer, text, characters), joined, whole, "words")


def _write_whole_words(writer: Writer, text: str, characters: Characters) -> str:
    if characters.lowers_ascii:
        text = writer.node("StringNormalizer", [text], "lower_case", case_change_action="LOWER", locale="C")
    return writer.split(text, f"{character_class(characters.separators, negated=True)}+", "whole_words")


def _write_lowered(writer: Writer, text: str, characters: Characters) -> str:
    """Return the name of the texts string [batch], without capitals of ASCII if there is nothing else to respell."""
    if not characters.lowers_ascii:
        return text
    lower, same = (Writer(onnx.Graph(name=name), f"{PREFIX}{name}/") for name in ("lower", "same"))
    lowered = lower.node("StringNormalizer", [text], "lower_case", case_change_action="LOWER", locale="C")
    lower.output(lowered, STRING, "batch")
    same.output(same.node("Identity", [text], "text"), STRING, "batch")
    return writer.choose(_write_is_risky(writer, text, characters), same, lower, "read_text")


def _write_is_risky(writer: Writer, text: str, characters: Characters) -> str:
    """Return the name of whether a text of the batch has a character that `StringNormalizer` cannot read: bool."""
    found = writer.split(text, character_class(characters.risky), "risky_characters")
    return writer.node("Greater", [writer.node("Size", [found], "risky_count"), np.int64(0)], "is_risky")
