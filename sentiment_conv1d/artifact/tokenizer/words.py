"""Words to ids, as in the IMDB data of Keras.

The rule: lower-case; punctuation, tab and newline become spaces; split on spaces; id 0 pads, 1 starts a review, 2 is
an unknown word, known words count from 3 by training frequency; the last `max_tokens` ids are kept, counting the start
id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sentiment_conv1d.artifact.configuration import RESERVED_IDS
from sentiment_conv1d.artifact.tokenizer.document import numbered, read_words
from sentiment_conv1d.artifact.tokenizer.interface import TokenizerError, check_rule
from sentiment_conv1d.artifact.tokenizer.parts import runs
from sentiment_conv1d.artifact.tokenizer.word_level import FROM_STAND_INS, Rule, WordLevelTokenizer, rule_document

#: The rule for texts of one id. The separators are the default filters of Keras' `text_to_word_sequence`, which made
#: `keras.datasets.imdb`.
KERAS_RULE = Rule(
    max_tokens=1,
    lowercase="unicode",
    removed="",
    separators='!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n',
    padding_id=0,
    start_id=1,
    unknown_id=2,
    keeps_first=False,
    pads_behind=False,
)


class WordTokenizer(WordLevelTokenizer):
    """Words to ids by the rule of this module.

    `words` are the known words in the order of their ids, which start at 3. Raises `TokenizerError` if a word repeats
    or cannot occur in a text.
    """

    unknown_id: int

    def __init__(self, words: Sequence[str], max_tokens: int) -> None:
        super().__init__(numbered(words), replace(KERAS_RULE, max_tokens=max_tokens))
        if len(self.ids) < len(words) or self.unreachable:
            wrong = [*self.unreachable, *(word for word, count in Counter(words).items() if count > 1)]
            raise TokenizerError(
                f"the vocabulary contains {wrong[0]!r}, which repeats or is not a single word in lower case"
            )

    @classmethod
    def from_texts(cls, texts: Iterable[str], vocabulary_size: int, max_tokens: int) -> WordTokenizer:
        """Learn the most frequent words.

        `vocabulary_size` limits the number of ids, including the reserved ones. Spelling breaks ties.
        """
        ranked = sorted(cls.count(texts).items(), key=lambda item: (-item[1], item[0]))
        return cls([word for word, _ in ranked[: vocabulary_size - RESERVED_IDS]], max_tokens)

    @staticmethod
    def split(text: str) -> list[bytes]:
        """Split a text into words of lower-case UTF-8, in which stand-in bytes replace \\r, \\v, \\f and \\0."""
        return KERAS_RULE.spaced(text).split()

    @classmethod
    def count(cls, texts: Iterable[str]) -> Counter[str]:
        """Count the words of texts. Words with lone surrogates, which no file can contain, are left out."""
        counts: Counter[bytes] = Counter()
        for text in texts:
            counts.update(cls.split(text))
        words: Counter[str] = Counter()
        for word, count in counts.items():
            try:
                words[word.translate(FROM_STAND_INS).decode()] = count
            except UnicodeDecodeError:
                continue
        return words

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the place of each word in the text. The start id, which comes first, has none."""
        return runs(self.rule.places, text, 0, len(text))

    @classmethod
    def from_document(cls, document: Any) -> WordTokenizer:
        """Read a file like `WordLevelTokenizer.from_document`. Raises `TokenizerError` for a file with another rule."""
        words, max_tokens = read_words(document)
        expected = rule_document({}, replace(KERAS_RULE, max_tokens=max_tokens))
        expected["model"]["vocab"] = document["model"]["vocab"]  # which `read_words` has checked
        check_rule(document, expected)
        return cls(words, max_tokens)
