"""What a tokenizer does to every character, and every way to spell a word that has an id.

ONNX has no operator that lower-cases beyond ASCII in the same way on all platforms: `StringNormalizer` calls the C
library, whose locales differ, and only the locale C exists everywhere. It leaves other characters as they are, so the
graph takes their capitals for spellings of the same word.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sentiment_conv1d.model.errors import SentimentError
from sentiment_conv1d.model.tokenizer import Tokenizer

_SURROGATES = range(0xD800, 0xE000)


class TextGraphError(SentimentError):
    """ONNX Runtime's operators cannot read texts as a tokenizer does. The message names what they cannot do."""


@dataclass(frozen=True)
class Characters:
    """What becomes of characters, after ASCII was lower-cased if `lowers_ascii`."""

    lowers_ascii: bool
    separators: frozenset[str]  # characters between words, the space among them
    removed: frozenset[str]
    respelled: Mapping[str, str]  # characters that become others

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Characters:
        """Return what a tokenizer does. Raises `TextGraphError`."""
        changes = {" ": " "} | tokenizer.changes()
        capitals = string.ascii_uppercase
        lowers_ascii = any(changes.get(each) == each.lower() for each in capitals) and all(
            changes.get(each, each) == changes.get(each.lower(), each.lower()) for each in capitals
        )
        if lowers_ascii:
            changes = {each: become for each, become in changes.items() if each not in capitals}
        split = next((each for each, become in changes.items() if " " in become and become != " "), None)
        if split is not None:
            raise TextGraphError(f"text.onnx cannot turn the character {split!r} into {changes[split]!r}")
        return cls(
            lowers_ascii,
            frozenset(each for each, become in changes.items() if become == " "),
            frozenset(each for each, become in changes.items() if not become),
            {each: become for each, become in changes.items() if become not in ("", " ", each)},
        )

    def spellings(self, word: str) -> list[str]:
        """Return every string that becomes this word, the word itself among them, without removed characters."""
        if self._involved.isdisjoint(word):
            return [word]
        ends = [[""]]  # the spellings of the last characters, from none to all
        for start in reversed(range(len(word))):
            ends.append(
                [first + end for length, found in self._first(word, start) for first in found for end in ends[-length]]
            )
        return ends[-1]

    def count(self, words: Iterable[str], most: int) -> int:
        """Return the number of spellings of these words, or a number above `most` if there are more."""
        total = 0
        for word in words:
            counts = [1]
            for start in reversed(range(len(word))):
                counts.append(sum(len(found) * counts[-length] for length, found in self._first(word, start)))
            total += counts[-1]
            if total > most:
                break
        return total

    def _first(self, word: str, start: int) -> Iterator[tuple[int, Sequence[str]]]:
        """Yield what the characters of a word from a start on can come from: how many of them, and which others."""
        for length in range(1, min(len(word) - start, self._longest) + 1):
            found = self._inverse.get(word[start : start + length], ())
            yield length, found if length > 1 or word[start] in self.respelled else (*found, word[start])

    @cached_property
    def _inverse(self) -> dict[str, list[str]]:
        inverse: dict[str, list[str]] = {}
        for each, become in self.respelled.items():
            inverse.setdefault(become, []).append(each)
        return inverse

    @cached_property
    def _involved(self) -> frozenset[str]:
        """The characters that become others, and the first ones of what they become."""
        return frozenset(self.respelled).union(become[0] for become in self._inverse)

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.respelled.values()), default=1)


def is_writable(word: str) -> bool:
    """Return whether a file can contain a word. No text of a graph contains lone surrogates."""
    return not any(ord(each) in _SURROGATES for each in word)


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
