"""Lower case, kinds and sets of characters, as `tokenizers` understands them."""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache

from sentiment_conv1d.artifact.tokenizer.parts import change

#: White space of Unicode, besides the space.
UNICODE_SPACES = (
    "\t\n\v\f\r\x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)

#: Unicode categories of the characters of a word: letters, combining marks, decimal digits, letter-like numbers, and
#: connectors such as the underscore.
_WORD_CATEGORIES = frozenset(("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "Pc"))

#: Other characters of a word: the joiners of characters, and letters in circles and squares.
_JOINERS = "\u200c\u200d"
_FRAMED = (range(0x24B6, 0x24EA), range(0x1F130, 0x1F14A), range(0x1F150, 0x1F16A), range(0x1F170, 0x1F18A))

_ESCAPES = {"\t": r"\t", "\n": r"\n", "\v": r"\v", "\f": r"\f", "\r": r"\r"}
_ESCAPED = {escape[1]: each for each, escape in _ESCAPES.items()}


def lower_case(text: str) -> str:
    """Lower-case a text as `tokenizers` does, which maps each character by itself.

    Python lower-cases a sigma depending on its place in the word.
    """
    return change(text.replace("\N{GREEK CAPITAL LETTER SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"), str.lower)


@cache
def lower_cases() -> dict[str, str]:
    """Return the lower case of every character that has another one."""
    lowered = ((each, lower_case(each)) for each in map(chr, range(sys.maxunicode + 1)))
    return {each: lower for each, lower in lowered if lower != each}


class Kinds(dict[int, str]):
    """The kind of each character, as the pre-tokenizer `Whitespace` sees it, for `str.translate`.

    A letter stands for characters of a word, "!" for marks, and a space for white space and `separators`. A word
    consists of what `\\w` matches in Rust, which is not the same in Python. Characters that the Unicode of this Python
    does not contain yet are marks.
    """

    def __init__(self, separators: str) -> None:
        super().__init__((ord(each), " ") for each in (" ", *UNICODE_SPACES, *separators))
        self |= {ord(each): "a" for each in _JOINERS} | {code: "a" for some in _FRAMED for code in some}

    def __missing__(self, code: int) -> str:
        self[code] = "a" if unicodedata.category(chr(code)) in _WORD_CATEGORIES else "!"
        return self[code]


def character_class(characters: str) -> str:
    """Return a regular expression of `tokenizers` that matches one of these characters."""
    return f"[{escaped(characters)}]"


def escaped(text: str) -> str:
    """Return characters for a class, or a string for an expression, of Python and of `tokenizers`."""
    return "".join(_ESCAPES.get(each, each if each.isalnum() else "\\" + each) for each in text)


def unescaped(pattern: str) -> str:
    """Return what `escaped` was given."""
    return re.sub(r"\\(.)", lambda found: _ESCAPED.get(found[1], found[1]), pattern)
