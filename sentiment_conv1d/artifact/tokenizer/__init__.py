"""Text to ids. The artifact's `tokenizer.json` states the rule.

The rest of the project uses `interface`. `word_level` implements words by any rule, `words` the rule of the IMDB data
of Keras, `unicode_text` words and character n-grams of any script, and `marks` words, marks, emojis and ratings.
`document` writes their files, and `vocabulary` looks words up for all but `unicode_text`. `library` runs other files
with the library of Hugging Face. `learn` makes the tokenizer of a configuration, and `read_tokenizer` the one that a
file describes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sentiment_conv1d.artifact.configuration import RESERVED_IDS, BaseConfiguration
from sentiment_conv1d.artifact.tokenizer.interface import Encoding, Tokenizer, TokenizerError, VocabularyTokenizer
from sentiment_conv1d.artifact.tokenizer.library import LibraryTokenizer, is_foreign
from sentiment_conv1d.artifact.tokenizer.marks import MarksTokenizer
from sentiment_conv1d.artifact.tokenizer.unicode_text import UnicodeTokenizer
from sentiment_conv1d.artifact.tokenizer.word_level import Rule, WordLevelTokenizer
from sentiment_conv1d.artifact.tokenizer.words import WordTokenizer

__all__ = [
    "Encoding",
    "LibraryTokenizer",
    "MarksTokenizer",
    "Rule",
    "Tokenizer",
    "TokenizerError",
    "UnicodeTokenizer",
    "VocabularyTokenizer",
    "WordLevelTokenizer",
    "WordTokenizer",
    "learn",
    "read_tokenizer",
    "read_vocabulary_tokenizer",
]


def learn(configuration: BaseConfiguration, texts: Sequence[str], known: Sequence[str] = ()) -> VocabularyTokenizer:
    """Make the tokenizer of a configuration, with the vocabulary of the training texts.

    Words that are `known` already keep their ids. The most frequent other words of the texts follow, as many as the
    configuration allows.
    """
    size = configuration.vocabulary_size + len(known)
    learned = _learn(configuration.tokenizer, texts, size, configuration.max_tokens)
    if not known:
        return learned
    words = list(dict.fromkeys([*known, *learned.words]))[: configuration.vocabulary_size - RESERVED_IDS]
    if isinstance(learned, UnicodeTokenizer):
        return UnicodeTokenizer(words, configuration.max_tokens, cuts=learned.cuts_characters)
    return type(learned)(words, configuration.max_tokens)


def _learn(
    rule: str, texts: Sequence[str], size: int, max_tokens: int
) -> UnicodeTokenizer | MarksTokenizer | WordTokenizer:
    kind, _, detail = rule.partition(":")
    if kind == "characters":
        shortest, longest = map(int, detail.split("-"))
        return UnicodeTokenizer.from_texts(texts, size, max_tokens, range(shortest, longest + 1))
    if detail == "unicode":
        return UnicodeTokenizer.from_texts(texts, size, max_tokens)
    words = MarksTokenizer if detail else WordTokenizer
    return words.from_texts(texts, size, max_tokens)


def read_tokenizer(content: str | bytes) -> Tokenizer:
    """Make the tokenizer that a `tokenizer.json` describes. Raises `TokenizerError` for an unknown rule."""
    document = _parsed(content)
    try:
        return _of_vocabulary(document)
    except TokenizerError:
        if not is_foreign(document):
            raise
    return LibraryTokenizer(document)


def read_vocabulary_tokenizer(content: str | bytes) -> VocabularyTokenizer:
    """Make the tokenizer of a `tokenizer.json` that this project wrote.

    Raises `TokenizerError` if this project does not implement the rule in the file.
    """
    return _of_vocabulary(_parsed(content))


def _parsed(content: str | bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"not a tokenizer: not valid JSON ({error})") from error


def _of_vocabulary(document: Any) -> VocabularyTokenizer:
    for rule in (WordTokenizer, MarksTokenizer, UnicodeTokenizer):
        with suppress(TokenizerError):
            return rule.from_document(document)
    return WordLevelTokenizer.from_document(document)
