"""Lower case and sets of characters, as `tokenizers` understands them."""

from __future__ import annotations

import re
import sys
from functools import cache

_ESCAPES = {"\t": r"\t", "\n": r"\n", "\v": r"\v", "\f": r"\f", "\r": r"\r"}
_ESCAPED = {escape[1]: each for each, escape in _ESCAPES.items()}


def lower_case(text: str) -> str:
    """Lower-case a text as `tokenizers` does, which maps each character by itself.

    Python lower-cases a sigma depending on its place in the word.
    """
    return text.replace("\N{GREEK CAPITAL LETTER SIGMA}", "\N{GREEK SMALL LETTER SIGMA}").lower()


@cache
def lower_cases() -> dict[str, str]:
    """Return the lower case of every character that has another one."""
    lowered = ((each, lower_case(each)) for each in map(chr, range(sys.maxunicode + 1)))
    return {each: lower for each, lower in lowered if lower != each}


def character_class(characters: str) -> str:
    """Return a regular expression of `tokenizers` that matches one of these characters."""
    return f"[{escaped(characters)}]"


def escaped(text: str) -> str:
    """Return characters for a class, or a string for an expression, of Python and of `tokenizers`."""
    return "".join(_ESCAPES.get(each, each if each.isalnum() else "\\" + each) for each in text)


def unescaped(pattern: str) -> str:
    """Return what `escaped` was given."""
    return re.sub(r"\\(.)", lambda found: _ESCAPED.get(found[1], found[1]), pattern)
