"""Looks up the pieces of texts that have ids: words, n-grams of their characters, or single characters.

`Tokenizer` finds words by a regular expression of RE2, after `StringNormalizer` lower-cased ASCII. A text with capitals
beyond ASCII, or with other characters that become different ones, takes another branch, in which it is spelled anew
before. If the rule replaces strings, every text is. If it removes characters, `removal` reads the words that contain
some. `marks` states the words of the rule of which marks are words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sentiment_conv1d.artifact.graphs import onnx_subset_pb2 as onnx
from sentiment_conv1d.artifact.graphs.text.characters import (
    Characters,
    TextGraphError,
    character_class,
    is_writable,
    listed_changes,
)
from sentiment_conv1d.artifact.graphs.text.marks import CURLY, expression, keys, without_keys, write_bare_stars
from sentiment_conv1d.artifact.graphs.text.n_grams import write_n_grams
from sentiment_conv1d.artifact.graphs.text.removal import long_word, whole_word, write_ids_without
from sentiment_conv1d.artifact.graphs.text.respelling import write_respelled
from sentiment_conv1d.artifact.graphs.text.single import write_characters
from sentiment_conv1d.artifact.graphs.text.writer import FILLING, NO_ID, PREFIX, STRING, Writer
from sentiment_conv1d.artifact.tokenizer import MarksTokenizer, VocabularyTokenizer


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
    if isinstance(tokenizer, MarksTokenizer):
        words = _write_marks(writer, text, characters)
        return writer.look_up(words, keys(known) | {FILLING: NO_ID}, unknown_id, "ids")
    words = _write_words(writer, text, characters, tokenizer.replaced)
    if characters.removed and not tokenizer.replaced:
        return write_ids_without(writer, words, characters.removed, known, unknown_id)
    return writer.look_up(words, known | {FILLING: NO_ID}, unknown_id, "ids")


def _write_words(writer: Writer, text: str, characters: Characters, replaced: Sequence[str]) -> str:
    """Return the name of the words string [batch, words], with `FILLING` in other places."""
    text = _write_normal(writer, text, characters, replaced)
    inner = f"{character_class(characters.separators, negated=True)}+"
    without = characters.removed and not replaced
    return writer.split(text, whole_word(characters) if without else inner, "whole_words")


def _write_normal(writer: Writer, text: str, characters: Characters, replaced: Sequence[str]) -> str:
    """Return the name of the texts string [batch] with what their characters become, but for separators.

    Removed characters stay in texts without special ones.
    """
    if replaced:
        spaces = [spelled for each in _reachable(replaced) for spelled in characters.spellings(each)]
        return _write_spelled(writer, text, characters, dict.fromkeys(spaces, " "))
    special = [character_class(characters.risky)] if characters.risky else []
    if characters.removed:
        special.append(long_word(characters))
    return _write_either(writer, text, characters, special) if special else _write_lower_case(writer, text, characters)


def _write_marks(writer: Writer, text: str, characters: Characters) -> str:
    """Return the name of the words string [batch, words] of the rule that reads marks, as `keys` has them."""
    special = [character_class(characters.risky - {CURLY}), without_keys()]
    text = _write_either(writer, text, characters, special, write_bare_stars)
    return writer.split(text, expression(), "whole_words")


def _write_either(
    writer: Writer,
    text: str,
    characters: Characters,
    special: Sequence[str],
    finish: Callable[[Writer, str], str] = lambda _, text: text,
) -> str:
    """Return the name of the texts string [batch] spelled anew if an expression matches in one, or in lower case."""
    spelled, plain = (Writer(onnx.Graph(name=name), f"{PREFIX}{name}/") for name in ("spelled", "plain"))
    spelled.output(finish(spelled, _write_spelled(spelled, text, characters, {})), STRING, "batch")
    plain.output(_write_lower_case(plain, text, characters), STRING, "batch")
    found = writer.split(text, "|".join(special), "special_characters")
    is_special = writer.node("Greater", [writer.node("Size", [found], "special_count"), np.int64(0)], "is_special")
    return writer.choose(is_special, spelled, plain, "normal")


def _reachable(replaced: Sequence[str]) -> list[str]:
    """Return the strings that can be found. Of two that match, the first one wins, and the longest for RE2."""
    return [each for place, each in enumerate(replaced) if not each.startswith(tuple(replaced[:place]))]


def _write_spelled(writer: Writer, text: str, characters: Characters, others: Mapping[str, str]) -> str:
    """Return the name of the texts spelled with what characters, and other strings, become."""
    if not characters.lowers_after_spelling:
        return write_respelled(writer, text, {**characters.respelled, **others}, characters.removed)
    beyond = {each: become for each, become in characters.respelled.items() if not each.isascii()}
    text = write_respelled(writer, text, {**beyond, **others}, characters.removed)
    return _write_lower_case(writer, text, characters)


def _write_lower_case(writer: Writer, text: str, characters: Characters) -> str:
    if characters.lowers_ascii:
        return writer.node("StringNormalizer", [text], "lower_case", case_change_action="LOWER", locale="C")
    return writer.node("Identity", [text], "same_case")
