"""The sentences of a text, and how long a sentence is."""

from __future__ import annotations

import re

_END = re.compile(r"(?<=[.!?])\s+|<br />")

#: Shorter sentences say little, and longer ones are rarely sentences.
_WORDS = range(4, 41)


def is_short(text: str) -> bool:
    """Return whether a text is not longer than a sentence."""
    return len(text.split()) < _WORDS.stop


def sentences(text: str) -> list[str]:
    """Return the sentences of a text that have 4 to 40 words; none if there is a single one."""
    found = [part.strip() for part in _END.split(text)]
    found = [sentence for sentence in found if len(sentence.split()) in _WORDS]
    return found if len(found) > 1 else []
