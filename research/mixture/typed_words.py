"""The words that decide what a typed text says: emojis, ratings and stars, and words for people that decide nothing.

They are a table with the columns `word`, `kind` and `sense`. The kinds are `emoji`, with one of `SENSES`, `identity`
and `control`, without a sense, and `KEYS`, the words of a family by which its texts are read: idioms, negated words,
answers of a few words, and where a long text turns. They have a sense, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sentiment_conv1d.tables import DataError, open_table

#: What an emoji says: praise, complaint, no opinion, or either opinion.
SENSES = ("for", "against", "neither", "either")

#: The kinds of words of which every part of the texts, such as those that are learned, has others.
KEYS = ("idiom", "answer", "negation", "turn")

_KINDS = {"emoji": SENSES, "identity": ("",), "control": ("",), **dict.fromkeys(KEYS, ("for", "against", "neither"))}

_STARS = ("\N{BLACK STAR}", "\N{WHITE MEDIUM STAR}", "\N{WHITE STAR}")


@dataclass(frozen=True)
class TypedWords:
    """The words of a table by kind and sense."""

    words: dict[tuple[str, str], tuple[str, ...]]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a table. Raises `DataError`, which names the file and the row."""
        found: dict[tuple[str, str], list[str]] = {}
        for place, word, kind, sense in rows(path, ("word", "kind", "sense")):
            if not word or sense not in _KINDS.get(kind, ()):
                raise DataError(f"{place}: {word!r} of the kind {kind!r} has no sense {sense!r}")
            if any(word in words for (other, _), words in found.items() if other == kind):
                raise DataError(f"{place}: the {kind} {word!r} is there twice")
            found.setdefault((kind, sense), []).append(word)
        return cls({key: tuple(words) for key, words in found.items()})

    def emojis(self, *senses: str) -> tuple[str, ...]:
        """Return the emojis of some senses, of all by default."""
        return tuple(word for sense in senses or SENSES for word in self.words.get(("emoji", sense), ()))

    @property
    def people(self) -> tuple[str, ...]:
        """The words for people, and words of no group of people to compare them with."""
        return *self.words.get(("identity", ""), ()), *self.words.get(("control", ""), ())

    def keys(self) -> Iterator[str]:
        """Yield what a vocabulary should contain: the emojis, ratings, and runs of stars."""
        yield from self.emojis()
        yield from ratings()
        yield from stars()


def rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the place of every row of a table, for messages, and its strings. Raises `DataError`."""
    with open_table(path) as table:
        for column in columns:
            table.require(column)
        for chunk in table.chunks(columns):
            cells = ([cell or "" for cell in chunk.strings(column)] for column in columns)
            yield from zip(map(chunk.location, chunk.numbers), *cells, strict=True)


def ratings() -> Iterator[str]:
    """Yield the ratings of scales up to five and ten in whole and half points."""
    for scale in (5, 10):
        for points in range(scale + 1):
            yield f"{points}/{scale}"
            if points < scale:
                yield from (f"{points}{point}5/{scale}" for point in ".,")
    yield from (f"{points}{star}" for points in range(1, 6) for star in _STARS[:2])


def stars() -> Iterator[str]:
    """Yield runs of one to five stars, and of five of which the last ones are empty."""
    for star in _STARS:
        yield from (star * count for count in range(1, 6))
    yield from (star * count + _STARS[2] * (5 - count) for star in _STARS[:2] for count in range(1, 5))
