"""Words or character n-grams of any script to ids.

The rule: lower-case; punctuation, white space and control characters of all scripts become spaces, while the apostrophe
stays inside a word; split on spaces. The words are looked up as they are, or split into character n-grams by maximum
matching: from the left, always the longest known n-gram. This works for Chinese, Japanese and Thai, which have no
spaces between words. The ids are those of `artifact.tokenizer.words`: 0 pads, 1 starts a text, 2 is an unknown word or
character, known ones count from 3 by training frequency, and the last `max_tokens` ids are kept.

Normalization replaces every character by exactly one, so that an index in the words is the same index in the text.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from sentiment_conv1d.artifact.configuration import RESERVED_IDS
from sentiment_conv1d.artifact.tokenizer.characters import lower_case
from sentiment_conv1d.artifact.tokenizer.document import (
    START,
    on_spaces,
    read_words,
    unique,
    words_document,
)
from sentiment_conv1d.artifact.tokenizer.interface import (
    Encoding,
    TokenizerError,
    VocabularyTokenizer,
    check_rule,
)
from sentiment_conv1d.artifact.tokenizer.parts import change, runs, split

APOSTROPHE = "'"

#: Characters that are used as an apostrophe inside a word.
APOSTROPHES = "\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}\N{FULLWIDTH APOSTROPHE}"

#: Unicode categories of characters that separate words: P, Z and Cc.
_SEPARATORS = frozenset(("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Zs", "Zl", "Zp", "Cc"))

#: Other separators: ASCII symbols, and the zero-width space of Thai and Khmer. All other symbols, including emojis, are
#: words.
_SYMBOLS = "$+<=>^`|~\N{ZERO WIDTH SPACE}"

#: Unicode lower-cases it to two characters.
DOTTED_I = "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}"

#: The normalizers of lower case, and of apostrophes.
LOWER_CASE: list[dict[str, Any]] = [
    {"type": "Replace", "pattern": {"String": DOTTED_I}, "content": "i"},
    {"type": "Lowercase"},
    {"type": "Replace", "pattern": {"Regex": f"[{APOSTROPHES}]"}, "content": APOSTROPHE},
]

_NORMALIZERS: list[dict[str, Any]] = [
    *LOWER_CASE,
    {
        "type": "Replace",
        "pattern": {"Regex": rf"(?!{APOSTROPHE})[\p{{P}}\p{{Z}}\p{{Cc}}{re.escape(_SYMBOLS)}]"},
        "content": " ",
    },
]

_WORD = re.compile("[^ ]+")

#: The least number of occurrences for an n-gram of several characters to get an id.
_LEAST_COUNT = 2


class _Normalized(dict[int, str]):
    """The normalized form of each character."""

    def __missing__(self, code: int) -> str:
        self[code] = _normalized(chr(code))
        return self[code]


def _normalized(character: str) -> str:
    if character == DOTTED_I:
        return "i"
    if character in APOSTROPHES:
        return APOSTROPHE
    if character != APOSTROPHE and (character in _SYMBOLS or unicodedata.category(character) in _SEPARATORS):
        return " "
    return lower_case(character)


_NORMALIZED = _Normalized()


def _normalize(text: str) -> str:
    return change(text, str.translate, _NORMALIZED)


class UnicodeTokenizer(VocabularyTokenizer):
    """Words to ids by the rule of this module, or character n-grams if `cuts`.

    `words` are the known words or n-grams in the order of their ids, which start at 3. Raises `TokenizerError` if one
    repeats or cannot occur in a text.
    """

    padding_id, start_id, unknown_id = 0, 1, 2

    def __init__(self, words: Sequence[str], max_tokens: int, *, cuts: bool) -> None:
        self.words = tuple(words)
        self.max_tokens = max_tokens
        self.cuts_characters = cuts
        self._ids = unique(self.words, max_tokens)
        for word in self.words:
            if word.translate(_NORMALIZED).split() != [word]:
                raise TokenizerError(f"the vocabulary contains {word!r}, which is not a single word")
        self._lengths = sorted({len(word) for word in self.words}, reverse=True)

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], vocabulary_size: int, max_tokens: int, sizes: range | None = None
    ) -> UnicodeTokenizer:
        """Learn the most frequent words, or the n-grams whose number of characters is in `sizes`.

        `vocabulary_size` limits the number of ids, including the reserved ones. Spelling breaks ties.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            for word in text.translate(_NORMALIZED).split():
                counts.update([word] if sizes is None else _n_grams(word, sizes))
        known = {
            word: count
            for word, count in counts.items()
            if (sizes is None or len(word) == 1 or count >= _LEAST_COUNT) and is_writable(word)
        }
        ranked = sorted(known, key=lambda word: (-known[word], word))
        return cls(ranked[: vocabulary_size - RESERVED_IDS], max_tokens, cuts=sizes is not None)

    @property
    def vocabulary_size(self) -> int:
        return len(self.words) + RESERVED_IDS

    @property
    def known_ids(self) -> dict[str, int]:
        return self._ids

    def changes(self) -> dict[str, str]:
        normalized = ((each, _normalized(each)) for each in map(chr, range(sys.maxunicode + 1)))
        return {each: become for each, become in normalized if become != each}

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode the last `max_tokens` ids of each text. An empty text has the start id only."""
        return list(map(self._encode, texts))

    def _encode(self, text: str) -> Encoding:
        words = chain.from_iterable(split(_normalize(text), " "))
        pieces = (piece for word in words for piece in self._cut(word)) if self.cuts_characters else words
        ids = [self.start_id, *(self._ids.get(piece, self.unknown_id) for piece in pieces)]
        return Encoding(np.array(ids[-self.max_tokens :], np.int32), len(ids), ids.count(self.unknown_id))

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the place of each word or n-gram in the text. The start id, which comes first, has none."""
        normalized = _normalize(text)
        for start, end in runs(_WORD, normalized, 0, len(normalized)):
            if not self.cuts_characters:
                yield start, end
                continue
            for piece in self._cut(normalized[start:end]):
                yield start, start + len(piece)
                start += len(piece)

    def _cut(self, word: str) -> Iterator[str]:
        """Yield the longest known n-gram at each place, and unknown characters one by one."""
        start = 0
        while start < len(word):
            candidates = (word[start : start + length] for length in self._lengths)
            piece = next((each for each in candidates if each in self._ids), word[start])
            yield piece
            start += len(piece)

    def to_json(self) -> str:
        return json.dumps(self._document(), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_document(cls, document: Any) -> UnicodeTokenizer:
        """Read the parsed content of a `tokenizer.json` that `to_json` wrote.

        Raises `TokenizerError` for anything else, so that a file with another rule is never misread.
        """
        words, max_tokens = read_words(document)
        pre_tokenizer = document.get("pre_tokenizer")
        tokenizer = cls(words, max_tokens, cuts=isinstance(pre_tokenizer, dict) and "pretokenizers" in pre_tokenizer)
        check_rule(document, tokenizer._document())
        return tokenizer

    def _document(self) -> dict[str, Any]:
        """Return the content of `tokenizer.json`.

        `tokenizers` takes the first alternative of a regular expression that matches. With the longest alternatives
        first, that is maximum matching.
        """
        pre_tokenizer = on_spaces()
        if self.cuts_characters:
            longest_first = sorted(self.words, key=lambda word: (-len(word), word))
            pattern = "|".join([START, *longest_first, "[^ ]"])
            cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
            pre_tokenizer = {"type": "Sequence", "pretokenizers": [pre_tokenizer, cut]}
        return words_document(self.max_tokens, _NORMALIZERS, pre_tokenizer, self._ids)


def _n_grams(word: str, sizes: range) -> Iterator[str]:
    for size in sizes:
        for start in range(len(word) - size + 1):
            yield word[start : start + size]


def is_writable(word: str) -> bool:
    """Return whether a file can contain a word: lone surrogates cannot be encoded in UTF-8."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
