"""What a tokenizer does to every character.

ONNX's `StringNormalizer` calls the C library, which lower-cases characters beyond ASCII on some platforms and keeps
them on others. So it reads only texts without such characters, and the graph spells the others letter by letter.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer
from sentiment_conv1d.artifact.tokenizer.characters import lower_cases

#: The most spellings of a string, for all of which a look-up has keys.
_MOST_SPELLINGS = 1000

#: The most characters that a graph lists: more than any lower-casing changes, less than all of Unicode.
_MOST_CHANGES = 100_000

#: Surrogates, which are no characters alone.
_LONE = range(0xD800, 0xE000)


class TextGraphError(SentimentError):
    """ONNX Runtime's operators cannot read texts as a tokenizer does. The message names what they cannot do."""


@dataclass(frozen=True)
class Characters:
    """What becomes of characters. `lowers_ascii` tells whether `StringNormalizer` does the same to ASCII letters."""

    lowers_ascii: bool
    separators: frozenset[str]  # characters between words, the space among them
    removed: frozenset[str]
    respelled: Mapping[str, str]  # characters that become others

    @classmethod
    def of(cls, tokenizer: VocabularyTokenizer) -> Characters:
        """Return what a tokenizer does. Raises `TextGraphError`."""
        changes = {" ": " "} | listed_changes(tokenizer)
        split = next((each for each, become in changes.items() if " " in become and become != " "), None)
        if split is not None:
            raise TextGraphError(f"text.onnx cannot turn the character {split!r} into {changes[split]!r}")
        return cls(
            all(changes.get(each, each) == changes.get(each.lower(), each.lower()) for each in string.ascii_uppercase),
            frozenset(each for each, become in changes.items() if become == " "),
            frozenset(each for each, become in changes.items() if not become),
            {each: become for each, become in changes.items() if become not in ("", " ", each)},
        )

    @cached_property
    def risky(self) -> frozenset[str]:
        """Characters beyond ASCII that become others, or that `StringNormalizer` changes on some platform."""
        changed = {*self.respelled, *(lower_cases() if self.lowers_ascii else ())}
        return frozenset(each for each in changed if not each.isascii())

    @cached_property
    def lowers_after_spelling(self) -> bool:
        """Whether `StringNormalizer` does the same on all platforms to what the other characters become."""
        return self.lowers_ascii and self.risky <= self.respelled.keys() | self.removed

    def spellings(self, text: str) -> list[str]:
        """Return every string that becomes this one. Raises `TextGraphError` if there are too many."""
        letters = [[*self._inverse.get(each, ()), *([] if each in self.respelled else [each])] for each in text]
        if prod(map(len, letters)) > _MOST_SPELLINGS:
            raise TextGraphError(f"text.onnx cannot list all capitals of the replaced string {text!r}")
        spelled = [""]
        for some in letters:
            spelled = [before + each for before in spelled for each in some]
        return spelled

    @cached_property
    def _inverse(self) -> dict[str, list[str]]:
        inverse: dict[str, list[str]] = {}
        for each, become in self.respelled.items():
            inverse.setdefault(become, []).append(each)
        return inverse


def listed_changes(tokenizer: VocabularyTokenizer) -> dict[str, str]:
    """Return what characters become that do not stay as they are. Raises `TextGraphError` if there are too many."""
    changes = tokenizer.changes()
    if len(changes) > _MOST_CHANGES:
        raise TextGraphError(f"text.onnx cannot list the {len(changes)} characters that do not stay as they are")
    return changes


def is_writable(word: str) -> bool:
    """Return whether a file can contain a word. No text of a graph contains lone surrogates."""
    return not any(ord(each) in _LONE for each in word)


def character_class(characters: Iterable[str], *, negated: bool = False) -> str:
    """Return a regular expression of RE2 that matches one of these characters, or any other if `negated`."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    listed = "".join(_code(first) if first == last else f"{_code(first)}-{_code(last)}" for first, last in ranges)
    return f"[{'^' if negated else ''}{listed}]"


def literal(text: str) -> str:
    """Return a regular expression of RE2 that matches a string."""
    return "".join(map(_code, map(ord, text)))


def _code(code: int) -> str:
    return f"\\x{{{code:x}}}"
