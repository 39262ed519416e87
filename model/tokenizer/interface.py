"""What every tokenizer does, whatever its rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.errors import SentimentError


class TokenizerError(SentimentError):
    """A vocabulary or a `tokenizer.json` that no tokenizer of this project can use."""


def check_rule(document: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise `TokenizerError`, which names the parts, if a `tokenizer.json` differs from what this project writes."""
    if document != expected:
        parts = [key for key in expected | document if document.get(key) != expected.get(key)]
        raise TokenizerError(f"asks for another rule than this project's in: {', '.join(parts)}")


class Encoding(NamedTuple):
    """The ids that a model reads of one text, and what was counted on the way."""

    ids: npt.NDArray[np.int32]  # [min(tokens, max_tokens)]
    tokens: int  # ids before truncation
    unknown_tokens: int  # of those, unknown ones


class Tokenizer(ABC):
    """Turns texts into ids. Everything that depends on the rule is asked of this object."""

    padding_id: int
    start_id: int | None  # in front of every text; None: nothing is
    unknown_id: int | None  # None: unknown words have no id and are dropped
    words: tuple[str, ...]  # known tokens in the order of their ids, without those that every vocabulary reserves
    max_tokens: int  # ids that are kept of a text
    keeps_first: bool = False  # of a long text the first ids are kept, else the last ones
    pads_behind: bool = False  # padding is behind the text, else in front
    cuts_characters: bool = False  # tokens are parts of words, so that a script needs no spaces between them

    @property
    @abstractmethod
    def vocabulary_size(self) -> int:
        """The number of ids: every id is below it."""

    @abstractmethod
    def encode(self, text: str) -> Encoding:
        """At most `max_tokens` ids of a text. Never fails: an empty text has at least one id."""

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """The encoding of every text, in their order."""

    @abstractmethod
    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in the text each token lies: its first character and the one after its last.

        There are as many as `encode` counts tokens, except for ids that stand for no part of the text; these come
        first.
        """

    @abstractmethod
    def to_json(self) -> str:
        """The content of `tokenizer.json`, in the format of Hugging Face's `tokenizers`."""

    def count_words(self, text: str) -> tuple[int, int]:
        """How many words of a text are unknown, dropped ones included, and how many words there are."""
        return self.encode(text).unknown_tokens, len(self.spans(text))

    def encoding(self, ids: npt.NDArray[np.int32]) -> Encoding:
        """The encoding of ids int32 [sequence_length] that were made elsewhere, at most `max_tokens` of them."""
        unknown = 0 if self.unknown_id is None else int(np.count_nonzero(ids == self.unknown_id))
        return Encoding(ids, len(ids), unknown)
