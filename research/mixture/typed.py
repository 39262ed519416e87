"""Short texts as people type them first, in families, from files with the columns `text`, `label` and `family`.

A text can have placeholders for words of the table `words.csv` in the same folder. `{emoji:for}` stands for an emoji of
this sense. Such a row gives several texts, and the rows of a file take the emojis in turn. `{identity}`, in families
whose name begins with `identity`, stands for every word for people, so that none of them says anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from research.mixture.labels import LABELS, number
from research.mixture.typed_words import SENSES, TypedWords, rows
from sentiment_conv1d.tables import DataError

#: The table of words, in the folder of the texts.
WORDS = "words.csv"

#: Texts of a row with emojis.
_TEXTS_WITH_EMOJIS = 8

_IDENTITY = "{identity}"
_EMOJI = re.compile(rf"\{{emoji:({'|'.join(SENSES)})\}}")
_PLACEHOLDER = re.compile(r"\{(?:emoji|identity)\b[^}]*\}?")


class Typed(NamedTuple):
    """A text, and where it comes from."""

    text: str
    label: int
    family: str
    row: int  # in the file; several texts can come from one
    word: str = ""  # the word for people in it


def read(file: Path) -> list[Typed]:
    """Read the texts of a file. Raises `DataError`, which names the file and the row."""
    words = TypedWords.read(file.parent / WORDS)
    turns = {sense: cycle(words.emojis(sense)) for sense in SENSES}
    found: list[Typed] = []
    for row, (place, text, label, family) in enumerate(rows(file, ("text", "label", "family"))):
        truth = number(label)
        if not text.strip() or not family:
            raise DataError(f"{place}: the text or the family is empty")
        if truth is None:
            raise DataError(f"{place}: the label is {label!r}, not {', '.join(LABELS[:-1])} or {LABELS[-1]}")
        people = words.people if _IDENTITY in text and family.startswith("identity") else ()
        for word in people or ("",):
            named = text.replace(_IDENTITY, word) if word else text
            for filled in _filled(named, turns):
                if placeholder := _PLACEHOLDER.search(filled):
                    raise DataError(f"{place}: there are no words for {placeholder[0]} in the family {family!r}")
                found.append(Typed(filled, truth, family, row, word))
    return found


def _filled(text: str, turns: Mapping[str, Iterator[str]]) -> list[str]:
    """Return a text with other emojis each time. It stays as it is without emojis for it."""
    if not _EMOJI.search(text):
        return [text]
    texts = (_EMOJI.sub(lambda found: next(turns[found[1]], found[0]), text) for _ in range(_TEXTS_WITH_EMOJIS))
    return list(dict.fromkeys(texts))
