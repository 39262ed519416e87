"""Emojis at the end of texts, which say the same as the label of the text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research.mixture.labels import NEGATIVE, NEUTRAL, POSITIVE
from research.mixture.typed_words import TypedWords

#: The senses of the emojis that a text with a label can get.
_SENSES = {NEGATIVE: ("against", "either"), NEUTRAL: ("neither",), POSITIVE: ("for", "either")}

#: The share of the added emojis without a space before them.
_GLUED = 0.5


@dataclass(frozen=True)
class AddedEmojis:
    """Adds one of the emojis of its label to a share of the texts."""

    emojis: dict[int, tuple[str, ...]]
    share: float

    @classmethod
    def of(cls, words: TypedWords | None, share: float) -> AddedEmojis:
        """Return what adds the emojis of a table, or nothing without a table or with the share 0."""
        if words is None or not share:
            return cls({}, 0)
        return cls({label: words.emojis(*senses) for label, senses in _SENSES.items()}, share)

    def to(self, text: str, label: int, generator: np.random.Generator) -> str | None:
        """Return a text with an emoji, or None if it stays as it is."""
        emojis = self.emojis.get(label)
        if not emojis or generator.random() >= self.share:
            return None
        space = "" if generator.random() < _GLUED else " "
        return f"{text}{space}{emojis[generator.integers(len(emojis))]}"
