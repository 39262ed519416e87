"""Finds words, marks, emoticons, ratings, stars and emojis by the rule of `artifact.tokenizer.marks`.

RE2 takes the longest match and cannot look at what stands around it. So the expression also matches the neighbour that
decides: the colon of `8:)`, which begins no emoticon behind a digit, is found with the digit. The vocabulary has a
further key for every word that can be found so. A text that needs keys for too many spellings is rare, and is spelled
anew before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sentiment_conv1d.artifact.graphs.text.respelling import write_joined
from sentiment_conv1d.artifact.graphs.text.writer import NO_ID, Writer
from sentiment_conv1d.artifact.tokenizer.marks import FLAGS, JOINERS, LETTER, NO_LETTERS, NUMBER, SELECTORS, STARS
from sentiment_conv1d.artifact.tokenizer.ranges import PICTOGRAPHS

#: Emoticons that are none before the rest of a word: their last character, and what stands before it.
_BEFORE = {"d": (":", ":-"), "p": (":",), "3": ("<",)}
_LETTERED = "(?::-?d|:p|<3)"

#: The colon of an address begins no emoticon. This match has no id.
_ADDRESS = "://"

#: What RE2 takes for a letter, and what begins no emoticon behind a digit.
_UNDERSCORE, _COLONS = "_", ":;"
_DIGITS = "0123456789"

#: What stands inside a word. A curly apostrophe is common, and a plain one beside it in a word is rare.
CURLY = "\N{RIGHT SINGLE QUOTATION MARK}"
_INNER = f"[{JOINERS}{CURLY}]"

#: The emoji style, which phones write behind each star.
_STYLE = "\N{VARIATION SELECTOR-16}"


def expression() -> str:
    """Return an expression of RE2 that matches every word in lower case, with the neighbour that decides what it is."""
    first = f"(?:{LETTER}|{_LETTERED}(?:[^\\x00-\\x7f{NO_LETTERS}]|{_INNER}{LETTER}))"
    rest = f"(?:{_INNER}?{LETTER})*"
    alternatives = (
        f"{first}{rest}",
        f"(?:{first}{rest}{_INNER}?|{_LETTERED}{_INNER})?[0-9][{_COLONS}]",
        f"{NUMBER}(?:/[0-9]{{1,3}}(?:\\b|[{_UNDERSCORE}{_COLONS}])|[{STARS}])",
        "[!?]{1,3}",
        f"{_LETTERED}(?:\\b|{_UNDERSCORE})|<3[{_COLONS}]|:-?[()]|;-?\\)|:/|{_ADDRESS}",
        f"[{STARS}][{STARS}{SELECTORS}]*",
        f"[{PICTOGRAPHS}]|[{FLAGS}]{{1,2}}",
    )
    return "|".join(alternatives)


def keys(known: Mapping[str, int]) -> dict[str, int]:
    """Return the ids of what the expression matches: of known words with their neighbours, and of no word."""
    return {spelled: number for word, number in known.items() for spelled in _spellings(word)} | {_ADDRESS: NO_ID}


def _spellings(word: str) -> Iterator[str]:
    if word[0] in STARS:
        yield from (word, "".join(star + _STYLE for star in word))
        return
    behind = ["", *(_COLONS if word[-1] in _DIGITS else ())]
    if "/" in word or (word[0] in ":<" and word[-1] in _BEFORE):
        behind.append(_UNDERSCORE)
    before = () if word[1:2].isascii() and word[1:2] != "'" else _BEFORE.get(word[0], ())
    for each in (word, word.replace("'", CURLY)):
        yield from (front + each + back for front in ("", *before) for back in behind)


def without_keys() -> str:
    """Return an expression that matches in texts, not yet in lower case, with something for which `keys` has none.

    That is a word with plain and curly apostrophes, and stars of which only some are followed by the emoji style.
    """
    letters = f"(?:{_INNER}?(?:[A-Z]|{LETTER}))+"
    star, other = f"[{STARS}]", SELECTORS.replace(_STYLE, "")
    stars = f"{star}(?:{star}{_STYLE}|{_STYLE}{star}(?:[^{_STYLE}]|$)|{other}|{_STYLE}[{SELECTORS}])"
    return f"'{letters}{CURLY}|{CURLY}{letters}'|{stars}"


def write_bare_stars(writer: Writer, text: str) -> str:
    """Return the name of texts string [batch] without the selectors behind stars, and without those with which a text
    begins, which are in no word.
    """
    inner = Writer(writer.graph, f"{writer.prefix}stars/")
    parts = inner.split(text, f"[{STARS}]|[^{STARS}{SELECTORS}][^{STARS}]*", "parts", filling="")
    return write_joined(inner, parts)
