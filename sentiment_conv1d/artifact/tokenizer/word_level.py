"""Words to ids by a rule that `tokenizer.json` states.

A rule may lower-case a text and replace some strings by spaces. It removes some characters, splits the text at others,
and looks up the words. A rule with `isolates_marks` also splits between words and marks, such as punctuation. A rule
with `splits_characters` looks up every character, spaces too, and one with `n_grams` several words together. Unknown
words have an id or are dropped.

The file has the format of Hugging Face's `tokenizers`, whose `encode` returns the same ids. To drop words, the file
uses a BPE model without merges. Its vocabulary contains only whole words, each with the space before it, or single
characters, and the library leaves out what it cannot find. Only the names of the reserved ids differ: as words of a
text, such as `<pad>`, they are unknown to this project, and known to the library. The library has no n-grams of words,
so it refuses the file of a rule with `n_grams`.
"""

from __future__ import annotations

import json
import operator
import re
import string
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice, pairwise
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.tokenizer.characters import (
    Kinds,
    character_class,
    escaped,
    lower_case,
    lower_cases,
    unescaped,
)
from sentiment_conv1d.artifact.tokenizer.document import PADDING, START, UNKNOWN, document, on_spaces, word_level
from sentiment_conv1d.artifact.tokenizer.interface import (
    MOST_IDS,
    Encoding,
    TokenizerError,
    VocabularyTokenizer,
    check_rule,
)
from sentiment_conv1d.artifact.tokenizer.parts import PART, change, matches, runs, split
from sentiment_conv1d.artifact.tokenizer.vocabulary import CharacterTable, Spelling, Vocabulary

#: `tokenizers` has no normalizer that lower-cases only ASCII, as TensorFlow does.
_ASCII_LOWERCASE: list[dict[str, Any]] = [
    {"type": "Replace", "pattern": {"String": upper}, "content": upper.lower()} for upper in string.ascii_uppercase
]

#: The pre-tokenizer of a rule with `isolates_marks`.
_ISOLATES_MARKS = {"type": "Whitespace"}

#: That of a rule with `splits_characters`.
_SPLITS_CHARACTERS = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}

#: The type of the pre-tokenizer of a rule with `n_grams`.
_N_GRAMS = "NGrams"

#: The most words of an n-gram.
_LONGEST_N_GRAM = 5

#: Marks in a row, and they or a word, in a text of `Kinds`.
_MARKS, _PIECE = re.compile("!+"), re.compile("!+|a+")

# A rule is one C loop over UTF-8 bytes and one look-up of all words, ten times as fast as the library.
# The vocabulary splits a text at white space and cannot contain a zero byte. If a rule keeps such characters in a word,
# bytes that do not occur in UTF-8 replace them.
_STAND_INS = dict(zip("\t\n\v\f\r\0", range(0xFA, 0x100), strict=True))
_TO_STAND_INS = bytes(_STAND_INS.get(chr(byte), byte) for byte in range(256))
_JOINT = b"\xf9"  # the space in an n-gram of words
FROM_STAND_INS = bytes.maketrans(bytes(_STAND_INS.values()), "".join(_STAND_INS).encode())

_LOWER_CASES = {upper: upper.lower() for upper in string.ascii_uppercase}
_LOWER = str.maketrans(_LOWER_CASES)

#: The number of characters of ASCII, and the beginning of a set of others.
_ASCII, _BEYOND_ASCII = 128, r"[^\x00-\x7f"

_Word = TypeVar("_Word")

Lowercase = Literal["unicode", "ascii", "none"]


@dataclass(frozen=True)
class Rule:
    """How a text becomes ids. Without a start id, a text without words becomes one pad id."""

    max_tokens: int
    lowercase: Lowercase
    removed: str  # characters
    separators: str  # characters that separate words, besides the space
    padding_id: int
    start_id: int | None  # before every text; None: texts have no start id
    unknown_id: int | None  # None: unknown words are dropped
    keeps_first: bool  # truncation keeps the first `max_tokens` ids of a text, else the last ones
    pads_behind: bool  # padding comes after the text, else before it
    replaced: tuple[str, ...] = ()  # strings that a space replaces, after lower-casing; of two, the first one wins
    isolates_marks: bool = False  # several marks in a row are a word; requires an unknown id, and no other kind of rule
    kept: str | None = None  # the only characters beyond ASCII that stay; None: all that are neither of the above
    removes_others: bool = False  # characters beyond ASCII that are not `kept` are removed, else they separate words
    splits_characters: bool = False  # every character is a word, and separators become spaces, which are words too
    n_grams: tuple[int, ...] = (1,)  # how many words in a row are looked up, first everywhere the first number of them

    def becomes(self, character: str) -> str:
        """Return what a `lowered` character becomes: itself, a space, or nothing."""
        if character in self.removed:
            return ""
        if character == " " or character in self.separators:
            return " "
        if self.kept is None or character.isascii() or character in self.kept:
            return character
        return "" if self.removes_others else " "

    def words(self, text: str) -> list[str]:
        """Split a text into the words that are looked up."""
        spaced = self.spaced(text)
        return list(_read(spaced)) if self.splits_characters else list(map(_read, spaced.split()))

    def spaced(self, text: str) -> bytes:
        """Return the words of a text as UTF-8, with spaces between them."""
        return self.spelling.respell(self.utf8(text))

    def utf8(self, text: str) -> bytes:
        """Return a text, or its n-grams, as UTF-8, of which `spelling` says what its bytes become."""
        if self.replaced:
            text = self._without_replaced(self.lowered(text))
        if self.isolates_marks:
            text = self._spread(text)
        if not text.isascii():
            if self.lowercase == "unicode":
                text = lower_case(text)
            if self._beyond_ascii:
                text = change(text, str.translate, self._beyond_ascii)
        encoded = text.encode("utf-8", "surrogatepass")
        return encoded if self.n_grams == (1,) else self._joined(encoded)

    def _joined(self, text: bytes) -> bytes:
        """Return the n-grams of a text, with spaces between them."""
        spelled = self.spelling.respell(text)
        if len(spelled) <= PART:
            return b" ".join(map(_JOINT.join, self.grouped(spelled.split()))).translate(FROM_STAND_INS)
        groups = self.grouped([*chain.from_iterable(split(spelled, b" "))])
        parts = iter(lambda: b" ".join(map(_JOINT.join, islice(groups, PART))), b"")
        return change(b" ".join(parts), bytes.translate, FROM_STAND_INS)

    def grouped(self, words: Sequence[_Word]) -> Iterator[tuple[_Word, ...]]:
        """Yield the words of every n-gram."""
        for size in self.n_grams:
            yield from zip(*(words[place:] for place in range(size)), strict=False)

    def lowered(self, text: str) -> str:
        """Return a text in the case in which strings are replaced and words are looked up."""
        if self.lowercase == "none":
            return text
        return lower_case(text) if self.lowercase == "unicode" else change(text, str.translate, _LOWER)

    @cached_property
    def places(self) -> re.Pattern[str]:
        """Matches what stands between separators in a `lowered` text without replaced strings."""
        separators = "".join(each for each in self.separators if each not in self.removed)
        word = f"[^ {re.escape(separators)}]"
        if self.kept is not None and not self.removes_others:
            word = f"(?:(?!{_beyond_ascii_except(self.kept + self.removed)}){word})"
        return re.compile(f"{word}+")

    def pieces(self, lowered: str) -> Iterator[tuple[int, int]]:
        """Yield the start and the end of what can be a word in a `lowered` text."""
        if self.isolates_marks:
            kinds = change(lowered, str.translate, self._kinds)
            yield from runs(_PIECE, kinds, 0, len(kinds))
        else:
            for start, end in self._between_replaced(lowered):
                yield from runs(self.places, lowered, start, end)

    def _without_replaced(self, lowered: str) -> str:
        """Return a `lowered` text with spaces in place of the replaced strings."""
        if len(lowered) <= PART:
            return self._replaced.sub(" ", lowered)
        return " ".join([lowered[start:end] for start, end in self._between_replaced(lowered)])

    def _between_replaced(self, lowered: str) -> Iterator[tuple[int, int]]:
        """Yield the places between the replaced strings of a `lowered` text."""
        last = 0
        if self.replaced:
            for start, end in matches(self._replaced, max(map(len, self.replaced)), lowered):
                yield last, start
                last = end
        yield last, len(lowered)

    def _spread(self, text: str) -> str:
        """Return a text with spaces around all marks in a row."""
        if len(text) <= PART:
            return self._spread_part(text)
        spread: list[str] = []
        for at in range(0, len(text), PART):
            part = self._spread_part(text[at : at + PART])
            if at and self._kinds[ord(text[at - 1])] == self._kinds[ord(text[at])] == "!":
                spread[-1], part = spread[-1][:-1], part[1:]  # the marks of both parts are in a row
            spread.append(part)
        return "".join(spread)

    def _spread_part(self, text: str) -> str:
        if text.isascii():
            return " ".join(self._ascii_marks.split(text))  # three times as fast
        parts: list[str] = []
        last = 0
        for found in _MARKS.finditer(text.translate(self._kinds)):
            start, end = found.span()
            parts += text[last:start], text[start:end]
            last = end
        return " ".join([*parts, text[last:]])

    @cached_property
    def _ascii_marks(self) -> re.Pattern[str]:
        marks = "".join(chr(code) for code in range(128) if self._kinds[code] == "!")
        return re.compile(f"([{re.escape(marks)}]+)")

    @cached_property
    def _kinds(self) -> Kinds:
        return Kinds(self.separators)

    @cached_property
    def _replaced(self) -> re.Pattern[str]:
        return re.compile(_alternatives(self.replaced))

    @cached_property
    def _lower(self) -> bytes:
        upper = b"" if self.lowercase == "none" else string.ascii_uppercase.encode()
        return bytes.maketrans(upper, upper.lower())

    @cached_property
    def spelling(self) -> Spelling:
        """What bytes become, and the ids of no known word."""
        become = [self.becomes(chr(byte)) for byte in self._lower[:_ASCII]]
        ascii_ = bytes(_TO_STAND_INS[ord(each)] if each.strip(" ") else len(each) * ord(" ") for each in become)
        return Spelling(ascii_ + _TO_STAND_INS[_ASCII:], self.start_id, self.unknown_id)

    @cached_property
    def _beyond_ascii(self) -> dict[int, str]:
        listed = (each for each in self.separators + self.removed + (self.kept or "") if not each.isascii())
        become = {ord(each): self.becomes(each) for each in listed}
        return become if self.kept is None else _BeyondAscii(become, "" if self.removes_others else " ")


class _BeyondAscii(dict[int, str]):
    """What characters become if all but some of those beyond ASCII become the same. No text makes the table larger."""

    def __init__(self, become: dict[int, str], other: str) -> None:
        super().__init__({code: chr(code) for code in range(_ASCII)} | become)
        self._other = other

    def __missing__(self, code: int) -> str:
        return self._other


class WordLevelTokenizer(VocabularyTokenizer):
    """Words to ids by any `Rule`. `ids` are the ids of the known words.

    Raises `TokenizerError` if an id is negative or too high, or an id or a word has two meanings.
    """

    def __init__(self, ids: Mapping[str, int], rule: Rule) -> None:
        if rule.max_tokens < 1:
            raise TokenizerError(f"a text needs at least one token, not {rule.max_tokens}")
        if "" in rule.replaced:
            raise TokenizerError("an empty string cannot be replaced by a space")
        if rule.isolates_marks and (rule.removed or rule.replaced or rule.start_id is not None):
            raise TokenizerError("the pre-tokenizer Whitespace allows no start id, and no removed or replaced strings")
        if rule.isolates_marks and rule.unknown_id is None:
            raise TokenizerError("the pre-tokenizer Whitespace needs an id for unknown words")
        sizes = {*rule.n_grams}.intersection(range(1, _LONGEST_N_GRAM + 1))
        if not sizes or len(sizes) < len(rule.n_grams):
            raise TokenizerError(f"an n-gram has 1 to {_LONGEST_N_GRAM} words, each number once: not {rule.n_grams}")
        if rule.n_grams != (1,) and (rule.splits_characters or rule.isolates_marks):
            raise TokenizerError("only words that white space separates can be looked up together")
        if rule.splits_characters and (rule.replaced or rule.start_id is not None or rule.isolates_marks):
            raise TokenizerError("a tokenizer of single characters allows no start id, and no replaced strings")
        named = {START} if rule.unknown_id is None else {PADDING, START, UNKNOWN}
        if taken := named & ids.keys():
            raise TokenizerError(f"{min(taken)!r} cannot be a word: it is the name of a reserved id in tokenizer.json")
        self.rule = rule
        self.max_tokens = rule.max_tokens
        self.padding_id, self.start_id, self.unknown_id = rule.padding_id, rule.start_id, rule.unknown_id
        self.pads_behind, self.keeps_first = rule.pads_behind, rule.keeps_first
        self.replaced, self.isolates_marks = rule.replaced, rule.isolates_marks
        self.splits_characters, self.n_grams = rule.splits_characters, rule.n_grams
        self.cost = 1 if rule.n_grams == (1,) else 2
        self.words = tuple(sorted(ids, key=ids.__getitem__))
        self.ids = dict(ids)
        reserved = [number for number in (rule.padding_id, rule.start_id, rule.unknown_id) if number is not None]
        numbers = sorted([*reserved, *ids.values()])
        if len({*numbers}) < len(numbers):
            repeated = next(first for first, second in pairwise(numbers) if first == second)
            raise TokenizerError(f"id {repeated} stands for two words, or for a word and for padding, start or unknown")
        if numbers[0] < 0:
            raise TokenizerError(f"id {numbers[0]} is negative")
        if numbers[-1] >= MOST_IDS:
            raise TokenizerError(f"id {numbers[-1]} is too high: a vocabulary has at most {MOST_IDS:,} ids")
        self._size = numbers[-1] + 1
        self._empty = np.array([self.padding_id], np.int32)
        # A word with a character that the rule changes cannot occur in a text. Removing a character can make a string
        # that is replaced elsewhere.
        self._single = replace(rule, n_grams=(1,))  # words instead of n-grams
        last = replace(self._single, replaced=())
        found, spelled = self.words, _spelled(self.words)
        self._known_ids, self.unreachable = self.ids, tuple[str, ...]()
        one_by_one = rule.splits_characters or rule.n_grams != (1,)  # several times slower
        if one_by_one or len(spelled) != len(found) or spelled != last.spaced(" ".join(found)).split():
            parts = {word: [word] if rule.splits_characters else word.split(" ") for word in found}
            found = tuple(
                word for word in found if len(parts[word]) in rule.n_grams and last.words(word) == parts[word]
            )
            spelled = [_spelled_one(word) for word in found]
            self._known_ids = {word: self.ids[word] for word in found}
            self.unreachable = tuple(word for word in self.words if word not in self._known_ids)
        if rule.splits_characters:
            self._vocabulary: Vocabulary = CharacterTable(self._known_ids, rule.spelling, FROM_STAND_INS)
            return
        by_spelling = dict(zip(spelled, map(self.ids.__getitem__, found), strict=True))
        self._vocabulary = Vocabulary.of(by_spelling, rule.spelling)

    @property
    def vocabulary_size(self) -> int:
        return self._size

    @property
    def known_ids(self) -> dict[str, int]:
        return self._known_ids

    def changes(self) -> dict[str, str]:
        rule = self.rule
        lowered = {"unicode": lower_cases(), "ascii": _LOWER_CASES, "none": {}}[rule.lowercase]
        beyond_ascii = () if rule.kept is None else filter(_is_character, map(chr, range(_ASCII, sys.maxunicode + 1)))
        changed = dict.fromkeys([*lowered, *rule.removed, *rule.separators, *beyond_ascii])
        becomes = ((each, "".join(map(rule.becomes, lowered.get(each, each)))) for each in changed)
        return {each: become for each, become in becomes if become != each}

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode the first or last `max_tokens` ids of texts. An empty text has only the start id or one pad id."""
        found = self._vocabulary.look_up([self.rule.utf8(text) for text in texts])
        return [self._encoding(words.ids, 0 if self.unknown_id is None else words.unknown) for words in found]

    def _encoding(self, ids: npt.NDArray[np.int32], unknown: int) -> Encoding:
        if not len(ids):
            return Encoding(self._empty, 0, 0)
        return Encoding(self.truncate(ids), len(ids), unknown)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the place of each word, or of each n-gram of words, with an id in the text."""
        lowered = self.rule.lowered(text)
        places: Sequence[int] = range(len(text))
        if len(lowered) != len(text):  # a character becomes two
            places = array("i", (place for place, each in enumerate(text) for _ in self.rule.lowered(each)))
        if self.splits_characters:
            has_id = self.ids if self.unknown_id is None else None
            for place, each in zip(places, lowered, strict=True):
                become = self.rule.becomes(each)
                if become and (has_id is None or become in has_id):
                    yield place, place + 1
            return
        words = list(self._placed(lowered, places))
        for group in self.rule.grouped(words):
            if self.unknown_id is not None or " ".join([word for word, _, _ in group]) in self.ids:
                yield group[0][1], group[-1][2]
        while words:  # freeing all of them at once would keep the interpreter lock
            del words[-PART:]

    def _placed(self, lowered: str, places: Sequence[int]) -> Iterator[tuple[str, int, int]]:
        """Yield the words of a `lowered` text, with the start and the end of each. `places` are those of characters."""
        for start, end in self.rule.pieces(lowered):
            piece = lowered[start:end]
            if read := self._single.words(piece):
                first = next(place for place in range(start, end) if self.rule.becomes(lowered[place]))
                last = next(place for place in reversed(range(start, end)) if self.rule.becomes(lowered[place]))
                yield read[0], places[first], places[last] + 1

    def count_words(self, text: str) -> tuple[int, int]:
        words = self.rule.words(text)
        return sum(word not in self.ids for word in words), len(words)

    def to_json(self) -> str:
        return json.dumps(rule_document(self.ids, self.rule), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_document(cls, document: Any) -> WordLevelTokenizer:
        """Read the parsed content of a `tokenizer.json` that `to_json` wrote.

        Raises `TokenizerError` for anything else, so that a file with another rule is never misread.
        """
        try:
            ids, rule = _lenient(document)
        except (LookupError, TypeError, AttributeError) as error:
            raise TokenizerError(f"not a tokenizer in the format of this project ({error!r})") from error
        tokenizer = WordLevelTokenizer(ids, rule)
        check_rule(document, rule_document(ids, rule))
        return tokenizer


def _read(spelled: bytes) -> str:
    return spelled.translate(FROM_STAND_INS).replace(_JOINT, b" ").decode("utf-8", "surrogatepass")


def _spelled(words: Sequence[str]) -> list[bytes]:
    """Return words as the vocabulary spells them."""
    return " ".join(words).encode("utf-8", "surrogatepass").translate(_TO_STAND_INS).split(b" ") if words else []


def _spelled_one(word: str) -> bytes:
    """Return a word, or an n-gram of words, as the vocabulary spells it."""
    return word.encode("utf-8", "surrogatepass").translate(_TO_STAND_INS).replace(b" ", _JOINT)


def _lenient(document: Any) -> tuple[dict[str, int], Rule]:
    """Return the words and the rule closest to a document. Parts of the document that no rule has are ignored."""
    drops = document["model"]["type"] == "BPE"
    splits_characters = document["pre_tokenizer"] == _SPLITS_CHARACTERS
    mark = _mark(drops, splits_characters)
    ids = {word: _id(number) for word, number in document["model"]["vocab"].items()}
    steps = (document["normalizer"] or {"normalizers": []})["normalizers"]
    lowercase: Lowercase = "none"
    if {"type": "Lowercase"} in steps:
        lowercase = "unicode"
    elif _ASCII_LOWERCASE[0] in steps:
        lowercase = "ascii"
    patterns = [(step["content"], step["pattern"]["Regex"]) for step in steps if "Regex" in step.get("pattern", ())]
    others = next(((content, pattern) for content, pattern in patterns if pattern.startswith(_BEYOND_ASCII)), None)
    classes = {
        content: unescaped(pattern[1:-1])
        for content, pattern in patterns
        if pattern.startswith("[") and not pattern.startswith(_BEYOND_ASCII)
    }
    rule = Rule(
        max_tokens=operator.index(document["truncation"]["max_length"]),
        lowercase=lowercase,
        removed=classes.get("", ""),
        separators=classes.get(" ", ""),
        padding_id=ids.pop(PADDING),
        start_id=ids.pop(mark + START, None),
        unknown_id=None if drops else ids.pop(UNKNOWN),
        keeps_first=document["truncation"]["direction"] == "Right",
        pads_behind=document["padding"]["direction"] == "Right",
        replaced=next((_strings(pattern) for _, pattern in patterns if pattern.startswith("(?:")), ()),
        isolates_marks=document["pre_tokenizer"] == _ISOLATES_MARKS,
        kept=None if others is None else unescaped(others[1][len(_BEYOND_ASCII) : -1]),
        removes_others=others is not None and not others[0],
        splits_characters=splits_characters,
        n_grams=tuple(map(operator.index, document["pre_tokenizer"].get("sizes", (1,)))),
    )
    return {word.removeprefix(mark): number for word, number in ids.items()}, rule


def rule_document(ids: Mapping[str, int], rule: Rule) -> dict[str, Any]:
    """Return the content of `tokenizer.json` for words with these ids."""
    return document(
        rule.max_tokens,
        _normalizers(rule),
        _pre_tokenizer(rule),
        _model(ids, rule),
        (PADDING, rule.padding_id) if rule.start_id is None else (START, rule.start_id),
        keeps_first=rule.keeps_first,
        pads_behind=rule.pads_behind,
    )


def _pre_tokenizer(rule: Rule) -> dict[str, Any]:
    if rule.splits_characters:
        return _SPLITS_CHARACTERS
    if rule.isolates_marks:
        return _ISOLATES_MARKS
    spaces = on_spaces("MergedWithNext" if rule.unknown_id is None else "Removed")
    return spaces if rule.n_grams == (1,) else {"type": _N_GRAMS, "sizes": list(rule.n_grams), "words": spaces}


def _mark(drops: bool, splits_characters: bool) -> str:
    """Return what precedes a word in a vocabulary of whole words, of which unknown ones are dropped."""
    return " " if drops and not splits_characters else ""


def _normalizers(rule: Rule) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = {"unicode": [{"type": "Lowercase"}], "ascii": list(_ASCII_LOWERCASE), "none": []}[
        rule.lowercase
    ]
    if rule.replaced:
        steps.append({"type": "Replace", "pattern": {"Regex": _alternatives(rule.replaced)}, "content": " "})
    for characters, content in ((rule.removed, ""), (rule.separators, " ")):
        if characters:
            steps.append({"type": "Replace", "pattern": {"Regex": character_class(characters)}, "content": content})
    if rule.kept is not None:
        others = {"Regex": _beyond_ascii_except(rule.kept)}
        steps.append({"type": "Replace", "pattern": others, "content": "" if rule.removes_others else " "})
    mark = _mark(rule.unknown_id is None, rule.splits_characters)
    prepended = mark if rule.start_id is None else f"{mark}{START} "
    return [*steps, {"type": "Prepend", "prepend": prepended}] if prepended else steps


def _model(ids: Mapping[str, int], rule: Rule) -> dict[str, Any]:
    mark = _mark(rule.unknown_id is None, rule.splits_characters)
    reserved = {PADDING: rule.padding_id, mark + START: rule.start_id, UNKNOWN: rule.unknown_id}
    named = {name: number for name, number in reserved.items() if number is not None}
    named |= {mark + word: number for word, number in ids.items()} if mark else ids
    vocabulary = {word: named[word] for word in sorted(named, key=named.__getitem__)}
    if rule.unknown_id is not None:
        return word_level(vocabulary)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": True,
        "vocab": vocabulary,
        "merges": [],
    }


def _is_character(code: str) -> bool:
    """Return whether a code point is not a surrogate, which is no character alone."""
    return not "\ud800" <= code <= "\udfff"


def _id(number: object) -> int:
    if type(number) is not int:
        raise TypeError(f"{number!r} is not an id")
    return number


def _alternatives(strings: Sequence[str]) -> str:
    """Return a regular expression of Python and `tokenizers` that matches one of these strings."""
    return f"(?:{'|'.join(map(escaped, strings))})"


def _beyond_ascii_except(characters: str) -> str:
    """Return a regular expression of Python and `tokenizers` for any character beyond ASCII but these."""
    return f"{_BEYOND_ASCII}{escaped(''.join(each for each in characters if not each.isascii()))}]"


def _strings(pattern: str) -> tuple[str, ...]:
    """Return the strings of an expression that `_alternatives` wrote."""
    return tuple(map(unescaped, re.findall(r"(?:\\.|[^|\\])+", pattern[len("(?:") : -1])))
