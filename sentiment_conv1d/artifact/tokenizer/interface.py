"""The interface of tokenizers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.errors import SentimentError


class TokenizerError(SentimentError):
    """A vocabulary or `tokenizer.json` cannot be used by a tokenizer of this project."""


def check_rule(document: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise `TokenizerError`, which names the parts, if a `tokenizer.json` differs from what this project writes."""
    if document != expected:
        parts = [key for key in expected | document if document.get(key) != expected.get(key)]
        raise TokenizerError(f"not a rule of this project; these parts differ: {', '.join(parts)}")


#: The most ids of a vocabulary: the most rows that a table of the native operator can have.
MOST_IDS = 1 << 24


class Encoding(NamedTuple):
    """The ids that a model reads of one text, and the numbers of tokens in the text."""

    ids: npt.NDArray[np.int32]  # [min(tokens, max_tokens)]
    tokens: int  # ids before truncation
    unknown_tokens: int | None  # unknown ones among them; None: not counted


class Tokenizer(ABC):
    """Turns texts into ids."""

    padding_id: int
    start_id: int | None  # before every text; None: texts have no start id
    unknown_id: int | None  # None: no id stands for what is unknown
    max_tokens: int  # the largest number of ids of a text
    keeps_first: bool = False  # truncation keeps the first ids of a text, else the last ones
    pads_behind: bool = False  # padding comes after the text, else before it
    cost: int = 1  # the time per character; at 1, a classifier takes most of the time for a text

    @property
    @abstractmethod
    def vocabulary_size(self) -> int:
        """The number of ids, which is above every id."""

    def encode(self, text: str) -> Encoding:
        """Encode a text as at most `max_tokens` ids. Never fails; an empty text has at least one id."""
        return self.encode_batch((text,))[0]

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode several texts, each like `encode`."""

    @abstractmethod
    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the place of each token in the text: the indices of its first character and of the one after its last.

        Ids that correspond to no part of the text, such as the start id, have no span. They come before all others.
        Spans are in the order of the ids: n-grams of words follow the words.
        """

    @abstractmethod
    def to_json(self) -> str:
        """Return the content of `tokenizer.json`, in the format of Hugging Face's `tokenizers`."""

    def truncate(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return the ids that the model reads, int32 [min(tokens, max_tokens)], without memory of the others."""
        if len(ids) <= self.max_tokens:
            return ids
        return (ids[: self.max_tokens] if self.keeps_first else ids[-self.max_tokens :]).copy()

    def is_blank(self, ids: npt.NDArray[np.int32]) -> bool:
        """Return whether ids int32 [sequence_length] contain no others than padding and those of an empty text."""
        return {*ids.tolist()} <= {self.padding_id, *self.encode("").ids.tolist()}

    def encoding(self, ids: npt.NDArray[np.int32]) -> Encoding:
        """Make an encoding of ids int32 [sequence_length] that a caller made, at most `max_tokens`."""
        unknown = 0 if self.unknown_id is None else int(np.count_nonzero(ids == self.unknown_id))
        return Encoding(ids, len(ids), unknown)


class VocabularyTokenizer(Tokenizer):
    """Splits texts at spaces after changing characters, and looks the words or parts of words up in a vocabulary.

    A tokenizer that `splits_characters` looks every single character up instead, spaces too.

    Without an `unknown_id`, unknown words are dropped.
    """

    words: tuple[str, ...]  # known tokens in the order of their ids, without the reserved ones
    cuts_characters: bool = False  # tokens are parts of words, for scripts without spaces between words
    replaced: tuple[str, ...] = ()  # strings that become a space before any other character does
    isolates_marks: bool = False  # marks, such as punctuation, are words of their own
    splits_characters: bool = False  # every character is a token, also a space
    n_grams: tuple[int, ...] = (1,)  # how many words in a row are a token

    @property
    @abstractmethod
    def known_ids(self) -> dict[str, int]:
        """The ids of the known tokens that can occur in a text, spelled as after all `changes`."""

    @abstractmethod
    def changes(self) -> dict[str, str]:
        """Return the characters that become others before a text is split at spaces, and what they become.

        A character that separates words becomes a space, and one that is removed becomes an empty string.
        """

    def count_words(self, text: str) -> tuple[int, int]:
        """Return the number of unknown words in a text, including dropped ones, and the number of words."""
        return self.encode(text).unknown_tokens or 0, sum(1 for _ in self.spans(text))
