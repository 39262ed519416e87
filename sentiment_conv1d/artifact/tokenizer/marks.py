"""Words, marks, emojis and ratings to ids.

A word consists of letters, digits and symbols of any script. An apostrophe or a joiner of characters stays between two
of them. These are words of their own, wherever they stand: a rating such as `8/10`, `4.5/5` or `5★`, if it begins where
no word has begun; up to three of `!` and `?`; an emoticon; a run of stars; an emoji, or a flag of two regional
indicators. What modifies an emoji, such as U+FE0F or a skin tone, is ignored. Everything else separates words. The ids
are those of `artifact.tokenizer.words`.

Normalization replaces every character by exactly one, so that an index in the words is the same index in the text.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.configuration import RESERVED_IDS
from sentiment_conv1d.artifact.tokenizer.character_table import character_table
from sentiment_conv1d.artifact.tokenizer.characters import lower_case
from sentiment_conv1d.artifact.tokenizer.document import START, read_words, unique, words_document
from sentiment_conv1d.artifact.tokenizer.interface import Encoding, TokenizerError, VocabularyTokenizer, check_rule
from sentiment_conv1d.artifact.tokenizer.parts import PART, change
from sentiment_conv1d.artifact.tokenizer.ranges import PICTOGRAPHS, SEPARATORS
from sentiment_conv1d.artifact.tokenizer.unicode_text import APOSTROPHE, APOSTROPHES, DOTTED_I, LOWER_CASE, is_writable
from sentiment_conv1d.artifact.tokenizer.vocabulary import Spelling, Vocabulary

STARS, FLAGS = "★☆⭐", "\U0001f1e6-\U0001f1ff"

#: The selectors of the look of an emoji as text or picture. They and other joiners stay inside a word.
SELECTORS = "\ufe0e\ufe0f"
JOINERS = f"{APOSTROPHE}\u200c\u200d{SELECTORS}"

#: What modifies an emoji, and is in no word: skin tones, and the tags of flags.
MODIFIERS = "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"

NO_LETTERS = rf"\x00-/:-\x60{{-\x7f{SEPARATORS}{PICTOGRAPHS}{STARS}{FLAGS}{MODIFIERS}{JOINERS}"
LETTER = f"[^{NO_LETTERS}]"

#: Holds where a word can end.
_END = f"(?![{JOINERS}]?{LETTER})"

NUMBER = "[0-9]{1,3}(?:[.,][0-9]{1,2})?"
_SCALE = "/[0-9]{1,3}(?![0-9a-z])"
_EMOTICON = {":": rf"-?[()]|-?d{_END}|p{_END}|/(?!/)", ";": r"-?\)", "<": f"3{_END}"}

#: The rule. The first alternative that matches wins.
WORDS = "|".join(
    (
        f"{NUMBER}(?:{_SCALE}|[{STARS}])",
        f"({LETTER}+(?:[{JOINERS}]{LETTER}+)*)",
        "[!?]{1,3}",
        f"(?<![0-9]):(?:{_EMOTICON[':']})|(?<![0-9]);{_EMOTICON[';']}|<{_EMOTICON['<']}",
        f"[{STARS}][{STARS}{SELECTORS}]*",
        f"[{PICTOGRAPHS}]|[{FLAGS}]{{1,2}}",
    )
)
_WORDS = re.compile(WORDS)


def _short(ranges: str) -> str:
    """Return the ranges up to U+FFFF."""
    return re.sub("-?[\U00010000-\U0010ffff]", "", ranges)


#: A rating in digits of which the first one was found. A joiner behind it does not join it to what follows.
_RATING = (
    rf"(?<!{LETTER}.)(?<!{LETTER}[{JOINERS}].)[0-9]{{0,2}}(?:[.,][0-9]{{1,2}})?"
    rf"(?:{_SCALE}(?P<several>[{JOINERS}][^ ]*)?|[{STARS}])"
)

#: Matches the same words in a short text, but for the plain ones, and what separates words beyond ASCII. It begins with
#: a set of characters, because Python finds one ten times as fast as other expressions, and the set has a single range
#: beyond U+FFFF, because Python compares a character with all such ranges.
_OTHERS = re.compile(
    f"[0-9!?:;<{JOINERS}{STARS}{_short(PICTOGRAPHS)}{_short(SEPARATORS)}\U00010000-\U0010ffff](?:"
    f"(?<=[0-9]){_RATING}"
    "|(?<=[!?])[!?]{0,2}"
    f"|(?<=:)(?<![0-9].)(?:{_EMOTICON[':']})|(?<=;)(?<![0-9].){_EMOTICON[';']}|(?<=<){_EMOTICON['<']}"
    f"|(?<=[{STARS}])[{STARS}{SELECTORS}]*|(?<=[{PICTOGRAPHS}])|(?<=[{FLAGS}])[{FLAGS}]?"
    f"|(?P<none>(?<=[{JOINERS}])(?:(?<!{LETTER}.)|(?!{LETTER}))|(?<=[{SEPARATORS}{MODIFIERS}]))"
    ")",
    re.DOTALL,
)

#: The longest match of `_WORDS` but words and stars, and how far it looks behind one.
_LONGEST = 16

#: What follows an unfinished word, or unfinished stars, and what belongs to the place of an emoji.
_MORE_LETTERS = re.compile(f"(?:[{JOINERS}]?{LETTER})*")
_MORE_STARS = re.compile(f"[{STARS}{SELECTORS}]*")
_SEPARATOR = re.compile(
    rf"(?![0-9a-z!?:;<()/.,{APOSTROPHE}\-])[\x00-\x7f]|[{SEPARATORS}{MODIFIERS}](?<![{PICTOGRAPHS}])"
)
_MODIFIED = re.compile(f"[{STARS}{PICTOGRAPHS}{FLAGS}]")
_MORE_MODIFIERS = re.compile(f"[{SELECTORS}\u200d{MODIFIERS}]*")

#: The vocabulary splits a text at marks. A lower-case text has no capitals, so they can replace those that are words.
_MARKS = "!?:;<()-/.,"
_STAND_INS = str.maketrans(_MARKS, "ABCDEFGHIJK", SELECTORS)
_FROM_STAND_INS = str.maketrans("ABCDEFGHIJK", _MARKS)
_KEPT = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJK" + APOSTROPHE.encode()
_BECOMES = bytes(code if code >= 128 or code in _KEPT else ord(" ") for code in range(256))

#: What the native library does not decide by itself: it does for digits, joiners, and what can begin a word of marks.
_NATIVELY_BECOMES = bytes(
    0 if code >= 128 or chr(code) in "0123456789!?:;<" + JOINERS else _BECOMES[ord(chr(code).lower())]
    for code in range(256)
)

_NORMALIZERS: list[dict[str, Any]] = [
    *LOWER_CASE,
    {"type": "Replace", "pattern": {"Regex": f"(?<=[{STARS}])[{SELECTORS}]+"}, "content": ""},
]
_SPLIT = {"type": "Split", "pattern": {"Regex": rf"\A{START}|{WORDS}"}, "behavior": "Removed", "invert": True}


class MarksTokenizer(VocabularyTokenizer):
    """Words to ids by the rule of this module.

    `words` are the known words in the order of their ids, which start at 3. Raises `TokenizerError` if one repeats or
    cannot occur in a text.
    """

    padding_id, start_id, unknown_id = 0, 1, 2

    def __init__(self, words: Sequence[str], max_tokens: int) -> None:
        self.words = tuple(words)
        self.max_tokens = max_tokens
        self._ids = unique(self.words, max_tokens)
        spelled = list(map(_words, self.words))
        for word, read in zip(self.words, spelled, strict=True):
            if [*map(_read, read)] != [word]:
                raise TokenizerError(f"the vocabulary contains {word!r}, which is not a single word")
        by_spelling = {each: number for (each,), number in zip(spelled, self._ids.values(), strict=True)}
        native = Vocabulary.native(
            dict(zip(map(_encoded, self.words), self._ids.values(), strict=True)),
            Spelling(_NATIVELY_BECOMES, self.start_id, self.unknown_id, _characters()),
        )
        spelling = Spelling(_BECOMES, self.start_id, self.unknown_id)
        self._vocabulary = native or Vocabulary.of(by_spelling, spelling)
        self._utf8 = _encoded if native else _spelled

    @classmethod
    def from_texts(cls, texts: Iterable[str], vocabulary_size: int, max_tokens: int) -> MarksTokenizer:
        """Learn the most frequent words.

        `vocabulary_size` limits the number of ids, including the reserved ones. Spelling breaks ties.
        """
        counts: Counter[bytes] = Counter()
        for text in texts:
            counts.update(_words(text))
        known = {word: count for spelled, count in counts.items() if is_writable(word := _read(spelled))}
        ranked = sorted(known, key=lambda word: (-known[word], word))
        return cls(ranked[: vocabulary_size - RESERVED_IDS], max_tokens)

    @property
    def vocabulary_size(self) -> int:
        return len(self.words) + RESERVED_IDS

    @property
    def known_ids(self) -> dict[str, int]:
        return self._ids

    def changes(self) -> dict[str, str]:
        """Return what characters become, but for those that separate words in some places only."""
        normal = ((each, _normal(each)) for each in map(chr, range(sys.maxunicode + 1)))
        becomes = ((each, _SEPARATOR.sub(" ", become)) for each, become in normal)
        return {each: become for each, become in becomes if become != each}

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode the last `max_tokens` ids of each text. An empty text has the start id only."""
        found = self._vocabulary.look_up([self._utf8(text) for text in texts])
        return [Encoding(self.truncate(words.ids), len(words.ids), words.unknown) for words in found]

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the place of each word in the text, with what modifies an emoji. The start id has none."""
        normal = change(text, _normal)
        for start, end, _ in _places(normal):
            is_modified = _MODIFIED.match(normal, end - 1)
            yield start, _end(_MORE_MODIFIERS, normal, end) if is_modified else end

    def to_json(self) -> str:
        return json.dumps(self._document(), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_document(cls, document: Any) -> MarksTokenizer:
        """Read the parsed content of a `tokenizer.json` that `to_json` wrote.

        Raises `TokenizerError` for anything else, so that a file with another rule is never misread.
        """
        tokenizer = cls(*read_words(document))
        check_rule(document, tokenizer._document())
        return tokenizer

    def _document(self) -> dict[str, Any]:
        return words_document(self.max_tokens, _NORMALIZERS, _SPLIT, self._ids)


@cache
def _characters() -> npt.NDArray[np.int32]:
    """Return the table of `native/marks.h`, which numbers the kinds of characters in this order, from letters on."""
    return character_table(("", SEPARATORS + MODIFIERS, JOINERS, PICTOGRAPHS, FLAGS, STARS), _normal)


def _normal(text: str) -> str:
    for apostrophe in APOSTROPHES:
        text = text.replace(apostrophe, APOSTROPHE)
    return lower_case(text.replace(DOTTED_I, "i"))


def _words(text: str) -> list[bytes]:
    return _spelled(text).translate(_BECOMES).split()


def _read(spelled: bytes) -> str:
    """Return a word as it stands in `tokenizer.json`."""
    return spelled.decode("utf-8", "surrogatepass").translate(_FROM_STAND_INS)


def _spelled(text: str) -> bytes:
    """Return a text as UTF-8 in which bytes that `_BECOMES` a space stand between all words."""
    is_short = len(text) <= PART
    spelled = _OTHERS.sub(_spread, _normal(text)) if is_short else "".join(_parts(change(text, _normal)))
    return _encoded(spelled)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _spread(found: re.Match[str]) -> str:
    if found.lastgroup == "none":
        return " "
    return f"{''.join(_parts(found[0]))} " if found.lastgroup else f" {_spell(found[0], is_plain=False)} "


def _parts(text: str) -> Iterator[str]:
    """Yield the words of the parts of a normal text, each with a space before it."""
    places = _places(text)
    while part := [*islice(places, PART)]:
        yield "".join([f" {_spell(text[start:end], is_plain)}" for start, end, is_plain in part])


def _spell(word: str, is_plain: bool) -> str:
    return word if is_plain else word.translate(_STAND_INS)


def _places(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield the start and the end of each word of a normal text, and whether it is a plain one."""
    at = 0
    while at < len(text):
        last = at + PART
        for found in _WORDS.finditer(text, at, last + _LONGEST):
            start, end = found.span()
            if start >= last:
                break
            is_plain = found.lastindex is not None
            if end > last and (is_plain or text[start] in STARS):  # which may go on behind what was searched
                end = _end(_MORE_LETTERS if is_plain else _MORE_STARS, text, end)
            yield start, end, is_plain
            at = end
        at = max(at, last)


def _end(more: re.Pattern[str], text: str, at: int) -> int:
    """Return where the match of an expression that begins at a place of a text ends."""
    while (found := more.match(text, at, at + PART)) and found.end() > at:
        at = found.end()
    return at
