"""The sentences of a text, and what each of them adds to the decision about the text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sentiment_conv1d.artifact.explaining.reading import Word
from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.inference.prediction import Prediction

#: Start and end of a sentence in its text, in characters.
Span = tuple[int, int]


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


#: Abbreviations that do not end a sentence.
_NEVER_LAST = _words(
    "approx ca capt cf cmdr col dr e.g eg esp excl gen gov hon i.e ie incl lt maj messrs mr mrs ms mt prof rev sen sgt "
    "st viz vs"
)

#: Abbreviations that do not end a sentence if a small letter or a digit follows.
_SELDOM_LAST = _words(
    "al apr apt assn assoc aug ave avg blvd bldg bros co corp dec dept ed est etc ext feat feb fig ft hrs hwy inc jan "
    "jr lb lbs ltd max min mins misc nov nr oct orig oz p pg pkg pp qty rd rep resp sec secs sept sr tbsp tel temp tsp "
    "univ vol yr yrs"
)

#: Words of a new sentence: after "U.S." and after an initial, other capitals continue a name.
_STARTERS = _words(
    "also an and at but he how i if in it my no on our she so that the there these they this those we what when where "
    "why you"
)

#: Abbreviations with dots inside, without the last dot: U.S, p.m, Ph.D.
_DOTTED = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")

#: More characters than the longest abbreviation.
_WORD_CHARACTERS = 12

#: Quotation marks and brackets, which can follow the end of a sentence, or precede the next one.
_CLOSING = "\"'\u2019\u201d\xbb\u203a)]}"
_OPENING = "\"'\u2018\u201c\u201e\xab\u2039([{\xbf\xa1"

#: Precedes a word without space.
_BEFORE_WORD = f"{_OPENING}*-"

#: The marks of Latin, Arabic and Devanagari that space follows, and of Chinese and Japanese, which need none.
_MARKS = "[.!?\u2026\u203c\u203d\u2047\u2048\u2049\u061f\u06d4\u0964\u0965]"
_WIDE_MARKS = "[\u3002\uff01\uff1f\uff61]"

#: Emoji with their joiners, and emoticons. Behind the mark that ends a sentence, they belong to this sentence.
_FACE = r"(?:[\u2600-\u27bf\u200d\ufe0f\U0001f000-\U0001faff]|[:;=]-?(?:[()]|[DPp]\b)|<3)"
_LINE = r"(?:\r\n|[\n\r\x85\u2028\u2029])"

#: The first character of a possible end of a sentence.
_CANDIDATE = re.compile(rf"{_MARKS[:-1]}{_WIDE_MARKS[1:-1]}<\n\r\x85\u2028\u2029]")

#: A possible end of a sentence. All quantifiers are possessive, and no character is matched more than a few times, so
#: the search takes linear time.
_BOUNDARY = re.compile(
    rf"""
    (?:
        (?P<marks> {_MARKS}++ ) (?: (?P<closing> [{re.escape(_CLOSING)}] ) | [^\S\n\r]*+ {_FACE} )*+
      | (?P<wide> {_WIDE_MARKS}++ ) [{re.escape(_CLOSING)}]*+
      | (?P<tag> (?: < [bB] [rR] \s*+ /?+ > \s*+ )++ )
      | (?P<line> {_LINE} (?P<blank> [^\S\n\r]*+ {_LINE} )?+ \s*+ )
    )
    (?= (?P<space> \s*+ ) [{re.escape(_OPENING)}]*+ (?P<next> \w*+ ) (?P<joined> [.,;:!?\u2026)\]}}]?+ ) )
    """,
    re.VERBOSE,
)

_SPACE = re.compile(r"\s++")

#: The most characters that one search reads.
_SEARCHED = 65_536

#: The most characters that the rule reads from a possible end of a sentence on. What is beyond them, behind as many
#: marks, quotation marks, emoji or spaces, does not change where the sentence ends.
_READ = 10_000


def split(text: str) -> Iterator[Span]:
    """Yield the sentences of a text in their order, without the space around them.

    They do not overlap, and every other character is white space. Takes linear time and does not look ahead of the
    sentence that it yields. docs/decisions/sentences.md describes the rule.
    """
    start = _skip_space(text, 0)
    for boundary in _boundaries(text):
        if boundary.start() > start and _ends(text, start, boundary):
            yield start, start + len(text[start : boundary.end()].rstrip())
            start = _skip_space(text, boundary.end("space"))
    if rest := text[start:].rstrip():
        yield start, start + len(rest)


def _boundaries(text: str) -> Iterator[re.Match[str]]:
    """Yield the possible ends of sentences.

    Calls of `re` keep the interpreter lock, so each reads a part of the text.
    """
    at = 0
    while at < len(text):
        window = at + _SEARCHED
        if (candidate := _CANDIDATE.search(text, at, window)) is None:
            at = window
            continue
        at = candidate.start()
        boundary = _BOUNDARY.match(text, at, at + _READ)
        at += 1
        if boundary is not None:
            yield boundary
            at = boundary.end()


def _skip_space(text: str, at: int) -> int:
    """Return the place of the first character from `at` on that is not white space."""
    while (space := _SPACE.match(text, at, at + _SEARCHED)) is not None:
        at = space.end()
    return at


def _ends(text: str, start: int, boundary: re.Match[str]) -> bool:
    """Return whether the sentence that begins at `start` ends at a possible boundary."""
    marks, closing, wide, tag, line, blank, space, following, joined = boundary.groups()
    if tag or wide or blank:
        return True
    if joined and not following:  # more marks, as in "! ! !"
        return False
    first = following[:1]
    small = first.islower()
    if line:
        return not small
    at = boundary.start()
    if not space:  # forgotten between two sentences, or the dot of a name or number
        if not first.isupper() or marks != ".":
            return first.isupper()
        before, second = text[max(start, at - 2) : at], following[1:2]
        return len(before) == 2 and before.isalpha() and before.islower() and second == second.lower()
    if small and (closing or (marks != "." and not marks.strip(".\u2026"))):
        return False  # "Really?" he said; well... maybe
    return marks != "." or _dot_ends(text, start, at, following)


def _dot_ends(text: str, start: int, at: int, following: str) -> bool:
    """Return whether a sentence ends at the dot at `at`, which space follows, and then the word `following`."""
    words = text[max(start, at - _WORD_CHARACTERS) : at].split()
    word = words[-1].lstrip(_BEFORE_WORD) if words else ""
    lower, small, digit = word.lower(), following[:1].islower(), following[:1].isdigit()
    if at - start == len(word) and (len(word) == 1 or (len(word) < 4 and word.isdigit())):
        return False  # the number of a list item
    if lower in _NEVER_LAST or (digit and lower == "no") or (small and word == "."):
        return False
    if (len(word) == 1 and word.isupper() and word != "I") or ("." in word and _DOTTED.fullmatch(word)):
        return not small and following.lower() in _STARTERS
    return not (small or digit) or lower not in _SELDOM_LAST


class Sentence(NamedTuple):
    """A sentence, its own prediction, and its share of the logit of the whole text."""

    start: int
    end: int
    share: float
    prediction: Prediction


def attribute(spans: Sequence[Span], predictions: Sequence[Prediction], words: Sequence[Word]) -> list[Sentence]:
    """Return the sentences with their predictions and shares. `words` are those of the explanation of the whole text.

    The share of a sentence is the sum of the shares of the words that begin in it. It is 0 if the model did not read
    the sentence, because the text is too long.
    """
    starts = [start for start, _ in spans]
    shares = [0.0] * len(spans)
    for word in words if spans else ():
        # Tokenizers can count as part of a word what is white space here, also before the first sentence.
        shares[max(bisect_right(starts, word.start) - 1, 0)] += word.share
    return [
        Sentence(start, end, share, prediction)
        for (start, end), share, prediction in zip(spans, shares, predictions, strict=True)
    ]


def deciding(sentences: Sequence[Sentence], manifest: Manifest, label: str) -> int | None:
    """Return the index of the sentence that adds most to a label of the model, or None if no sentence adds to it.

    The shares are those of the logit of `label`, or of the second label of a model with a single sigmoid.
    """
    sign = -1 if manifest.outputs == 1 and label != manifest.labels[1] else 1
    shares = [sign * sentence.share for sentence in sentences]
    highest = max(shares, default=0.0)
    return shares.index(highest) if highest > 0 else None


def sentences_body(
    manifest: Manifest,
    text: str,
    label: str,
    sentences: Sequence[Sentence],
    predict: Callable[[Prediction], dict[str, Any]],
) -> dict[str, Any]:
    """Return the sentences of a text, and which adds most to `label`, as the native REST API and the Python API answer.

    `predict` returns the fields of a prediction.
    """
    bodies = [
        {"text": text[each.start : each.end], "start": each.start, "end": each.end, "share": each.share}
        | predict(each.prediction)
        for each in sentences
    ]
    return {"sentences": bodies, "decided_by": deciding(sentences, manifest, label)}
