"""Looks up the pieces of texts that have ids: words, or n-grams of their characters.

`Tokenizer` finds words by a regular expression of RE2. If every known word has few spellings, each of them is a key of
the look-up. Otherwise, or if the rule removes characters or replaces strings, words are joined from their parts.
"""

from __future__ import annotations

from sentiment_conv1d.model.graphs.text.characters import Characters, character_class, is_writable
from sentiment_conv1d.model.graphs.text.joining import write_joined_words
from sentiment_conv1d.model.graphs.text.n_grams import write_n_grams
from sentiment_conv1d.model.graphs.text.writer import FILLING, NO_ID, Writer
from sentiment_conv1d.model.tokenizer import Tokenizer

#: The most spellings for each known word with which the look-up of whole words stays small.
_MOST_SPELLINGS = 2


def write_pieces(writer: Writer, text: str, tokenizer: Tokenizer) -> str:
    """Return the name of the ids int64 [batch, pieces] of texts string [batch], with `NO_ID` for what has none.

    Raises `TextGraphError`.
    """
    characters = Characters.of(tokenizer)
    if characters.lowers_ascii:
        text = writer.node("StringNormalizer", [text], "lower_case", case_change_action="LOWER", locale="C")
    known = {word: number for word, number in tokenizer.known_ids.items() if is_writable(word)}
    unknown_id = NO_ID if tokenizer.unknown_id is None else tokenizer.unknown_id
    if tokenizer.cuts_characters:
        return write_n_grams(writer, text, characters, known, unknown_id)
    most = _MOST_SPELLINGS * len(known)
    if characters.removed or tokenizer.replaced or characters.count(known, most) > most:
        return write_joined_words(writer, text, characters, tokenizer.replaced, known, unknown_id)
    spelled = {each: number for word, number in known.items() for each in characters.spellings(word)}
    words = writer.split(text, f"{character_class(characters.separators, negated=True)}+", "words")
    return writer.look_up(words, spelled | {FILLING: NO_ID}, unknown_id, "ids")
