"""Replaces numbers, e-mail addresses, URLs with user information, and listed names in texts by placeholders.

The time is linear in the length of a text, whatever it contains: every expression matches a maximal run of characters,
so no character is matched more than a fixed number of times, and only the beginning of a word is normalized.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from time import sleep
from unicodedata import category, normalize

from sentiment_conv1d.service.errors import StartupError

#: The most bytes of a file of names, and the most words of a name.
MAX_NAMES_BYTES, MAX_NAME_WORDS = 8 * 1024 * 1024, 8

#: Visible characters of a word that are compared with a name. The time to normalize accents is quadratic.
_COMPARED = 256

# Marks such as combining accents, and invisible characters such as joiners, are inside words, but are not in `\w`.
# Beyond 0xffff, `re` would compare each character with hundreds of ranges instead of looking it up.
_INNER = "".join(
    chr(point) for point in (0xAD, *range(0x300, 0x10000)) if category(chr(point)) in ("Mn", "Mc", "Me", "Cf")
)

_WORD = re.compile(rf"\w[\w{_INNER}]*+")
_WORD_OR_PLACEHOLDER = re.compile(rf"\[(?:email|name|number|url)\]|{_WORD.pattern}")
_BETWEEN_WORDS_OF_A_NAME = re.compile(r"[^\w\[]{1,3}+")
_BETWEEN_PARTS_OF_A_NUMBER = frozenset(".,:/'\N{RIGHT SINGLE QUOTATION MARK}-")

_AT = re.compile("[@\N{SMALL COMMERCIAL AT}\N{FULLWIDTH COMMERCIAL AT}]")
_SPACES_OR_OTHERS = re.compile(r"\s++|\S++")
_ADDRESS = re.compile(rf"[\w.%+'~\-@\N{{SMALL COMMERCIAL AT}}\N{{FULLWIDTH COMMERCIAL AT}}{_INNER}]++")
_BEFORE_ADDRESS = "%'~@\N{SMALL COMMERCIAL AT}\N{FULLWIDTH COMMERCIAL AT}"
_AFTER_ADDRESS = f".{_BEFORE_ADDRESS}"
_SCHEME = "+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_AFTER_URL = ".,;:!?)]}>\"'»”"

#: A mask pauses for some seconds after a number of words, so that another thread can run. Python lets threads that wait
#: for a busy one run only every 5 ms, which would delay every request of the worker.
_WORDS, _PAUSE = 250, 0.0001

#: The words of a name, folded.
Name = tuple[str, ...]


class Mask:
    """A function that returns a text with placeholders. It changes nothing else, and masks its own output to itself.

    A word with a digit is a number, as are words with digits that one of ``.,:/'-`` joins. Names are compared as whole
    words, without regard to case, to the form of accented letters, and to what separates their words.
    """

    def __init__(self, names: Iterable[Name] = ()) -> None:
        self._names = frozenset(names)
        self._lengths: dict[str, list[int]] = {}  # of the names that begin with a word, the longest first
        for first, length in sorted({(name[0], len(name)) for name in self._names}, reverse=True):
            self._lengths.setdefault(first, []).append(length)

    def __call__(self, text: str) -> str:
        """Return a text with placeholders."""
        if _AT.search(text) is not None:
            runs = _with_pauses(_SPACES_OR_OTHERS.finditer(text))
            text = "".join(_mask_addresses(run[0]) for run in runs)
        return "".join(self._mask_words(text))

    def _mask_words(self, text: str) -> Iterator[str]:
        position = 0
        for word in _with_pauses(_WORD_OR_PLACEHOLDER.finditer(text)):
            if word.start() < position or word[0].startswith("["):
                continue
            if (end := _end_of_number(text, word)) is not None:
                placeholder = "[number]"
            elif (end := self._end_of_name(text, word)) is not None:
                placeholder = "[name]"
            else:
                continue
            yield text[position : word.start()]
            yield placeholder
            position = end
        yield text[position:]

    def _end_of_name(self, text: str, first: re.Match[str]) -> int | None:
        """Return the end of the longest name that begins with a word."""
        if not self._names:
            return None
        words, end = [_folded(first[0])], first.end()
        ends = {}
        lengths = self._lengths.get(words[0], [])
        for length in range(1, max(lengths, default=0) + 1):
            ends[length] = end
            between = _BETWEEN_WORDS_OF_A_NAME.match(text, end)
            following = between and _WORD.match(text, between.end())
            if not following:
                break
            words.append(_folded(following[0]))
            end = following.end()
        return next((ends[each] for each in lengths if each in ends and tuple(words[:each]) in self._names), None)


def read_names(path: Path) -> frozenset[Name]:
    """Read a file with one name per line. Raises `StartupError`, which quotes nothing of the file."""
    place = f"--request-log-names: {path}"
    try:
        with path.open("rb") as file:
            content = file.read(MAX_NAMES_BYTES + 1)
    except OSError as error:
        raise StartupError(f"{place} cannot be read ({error.strerror})") from error
    if len(content) > MAX_NAMES_BYTES:
        raise StartupError(f"{place} is larger than {MAX_NAMES_BYTES // 1024**2} MiB")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise StartupError(f"{place} is not UTF-8 text") from None
    names = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        words = tuple(_folded(word) for word in _WORD.findall(line))
        if not 1 <= len(words) <= MAX_NAME_WORDS:
            raise StartupError(f"{place}, line {number}: a name has 1 to {MAX_NAME_WORDS} words, not {len(words)}")
        names.add(words)
    if not names:
        raise StartupError(f"{place} contains no name")
    return frozenset(names)


def _with_pauses(matches: Iterable[re.Match[str]]) -> Iterator[re.Match[str]]:
    for number, match in enumerate(matches, 1):
        yield match
        if number % _WORDS == 0:
            sleep(_PAUSE)


def _end_of_number(text: str, word: re.Match[str]) -> int | None:
    """Return the end of the number that begins with a word, or None if the word has no digit."""
    end = None
    following: re.Match[str] | None = word
    while following is not None and _has_digit(following[0]):
        end = following.end()
        joined = text[end : end + 1] in _BETWEEN_PARTS_OF_A_NUMBER
        following = _WORD.match(text, end + 1) if joined else None
    return end


def _has_digit(word: str) -> bool:
    """Return whether a word has a digit of any script, or another numeric character such as ½."""
    return not word.isalpha() and any(category(character)[0] == "N" for character in word)


def _folded(word: str) -> str:
    """Return a form that is the same for words that differ only in case, accents' form or invisible characters."""
    if word.isascii():
        return word.lower()
    visible = "".join(islice((character for character in word if category(character) != "Cf"), _COMPARED))
    return normalize("NFKC", normalize("NFKC", visible).casefold())


def _mask_addresses(run: str) -> str:
    """Mask the addresses in characters without a space."""
    if _AT.search(run) is None:
        return run
    scheme = run.find("://")
    if scheme >= 0 and _AT.search(run, scheme) is not None:
        return _mask_addresses(run[:scheme].rstrip(_SCHEME)) + "[url]" + run[len(run.rstrip(_AFTER_URL)) :]
    return _ADDRESS.sub(lambda match: _mask_address(match[0]), run)


def _mask_address(run: str) -> str:
    inner = run.lstrip(_BEFORE_ADDRESS).rstrip(_AFTER_ADDRESS)
    if _AT.search(inner) is None:
        return run
    before, _, after = run.partition(inner)
    return f"{before}[email]{after}"
