"""Looks up the pieces of texts that have ids: words, n-grams of their characters, or single characters.

`Tokenizer` finds words by a regular expression of RE2, after `StringNormalizer` lower-cased ASCII. A text with capitals
beyond ASCII, or with other characters that become different ones, takes another branch, in which words are joined from
their parts. If the rule replaces strings, words are joined in both branches. If it removes characters, `removal` reads
the words that contain some.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.artifact.graphs.text.characters import (
    Characters,
    TextGraphError,
    character_class,
    is_writable,
    listed_changes,
)
from sentiment_conv1d.artifact.graphs.text.joining import write_joined_words
from sentiment_conv1d.artifact.graphs.text.n_grams import write_n_grams
from sentiment_conv1d.artifact.graphs.text.removal import long_word, whole_word, write_ids_without
from sentiment_conv1d.artifact.graphs.text.single import write_characters
from sentiment_conv1d.artifact.graphs.text.writer import FILLING, NO_ID, PREFIX, STRING, Writer
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer


def write_pieces(writer: Writer, text: str, tokenizer: VocabularyTokenizer) -> str:
    """Return the name of the ids int64 [batch, pieces] of texts string [batch], with `NO_ID` for what has none.

    Raises `TextGraphError`.
    """
    if tokenizer.isolates_marks:
        raise TextGraphError("text.onnx cannot split a text between words and punctuation, as Whitespace does")
    if tokenizer.n_grams != (1,):
        raise TextGraphError("text.onnx cannot look several words up together, as TextVectorization does with ngrams")
    known = {word: number for word, number in tokenizer.known_ids.items() if is_writable(word)}
    unknown_id = NO_ID if tokenizer.unknown_id is None else tokenizer.unknown_id
    if tokenizer.splits_characters:
        return write_characters(writer, text, listed_changes(tokenizer), known, unknown_id)
    characters = Characters.of(tokenizer)
    if tokenizer.cuts_characters:
        return write_n_grams(writer, text, characters, known, unknown_id)
    words = _write_words(writer, text, characters, tokenizer.replaced, max(map(len, known), default=0))
    if characters.removed and not tokenizer.replaced:
        return write_ids_without(writer, words, characters.removed, known, unknown_id)
    return writer.look_up(words, known | {FILLING: NO_ID}, unknown_id, "ids")


def _write_words(writer: Writer, text: str, characters: Characters, replaced: Sequence[str], longest: int) -> str:
    """Return the name of the words string [batch, words], with `FILLING` in other places."""
    special = _special(characters, replaced)
    if not special:
        return _write_plain_words(writer, text, characters, replaced, longest)
    plain, joined = (Writer(onnx.Graph(name=name), f"{PREFIX}{name}/") for name in ("plain", "joined"))
    plain.output(_write_plain_words(plain, text, characters, replaced, longest), STRING, "batch", "plain_words")
    joined.output(write_joined_words(joined, text, characters, replaced, longest), STRING, "batch", "joined_words")
    found = writer.split(text, special, "special_words")
    is_special = writer.node("Greater", [writer.node("Size", [found], "special_count"), np.int64(0)], "is_special")
    return writer.choose(is_special, joined, plain, "words")


def _special(characters: Characters, replaced: Sequence[str]) -> str:
    """Return an expression that matches in texts whose words have to be joined, or an empty string."""
    risky = [character_class(characters.risky)] if characters.risky else []
    return "|".join([*risky, long_word(characters)] if characters.removed and not replaced else risky)


def _write_plain_words(writer: Writer, text: str, characters: Characters, replaced: Sequence[str], longest: int) -> str:
    """Return the name of the words of texts without special ones."""
    if characters.lowers_ascii:
        text = writer.node("StringNormalizer", [text], "lower_case", case_change_action="LOWER", locale="C")
        characters = dataclasses.replace(characters, respelled={})
    if replaced:
        return write_joined_words(writer, text, characters, replaced, longest)
    inner = f"{character_class(characters.separators, negated=True)}+"
    return writer.split(text, whole_word(characters) if characters.removed else inner, "whole_words")
