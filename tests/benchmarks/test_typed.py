"""The measures of texts as people type them first."""

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.accuracy.domains import Rows
from benchmarks.accuracy.neutral import NEGATIVE, NEUTRAL, POSITIVE, Answers
from benchmarks.accuracy.typed import Basis, measure, typographic
from research.mixture.typed import Typed
from research.mixture.typed_words import TypedWords

CURLY = "\N{RIGHT SINGLE QUOTATION MARK}"

WORDS = TypedWords({("emoji", "for"): ("😍",), ("emoji", "against"): ("😡",), ("identity", ""): ("deaf", "tall")})

TEXTS = [
    Typed("good 😍", POSITIVE, "emoji glued", 0),
    Typed("so 😍", POSITIVE, "emoji glued", 0),
    Typed("so 😡", NEGATIVE, "emoji alone", 1),
    Typed("surely good", NEGATIVE, "long turns", 2),
    Typed("surely good", POSITIVE, "long turns", 3),
    Typed("so deaf", NEUTRAL, "identity", 4, "deaf"),
    Typed("surely bad, so tall", NEUTRAL, "identity", 4, "tall"),
    Typed("bad and deaf", NEGATIVE, "identity", 5, "deaf"),
    Typed("good and tall", NEGATIVE, "identity", 5, "tall"),
    Typed("bad, deaf", NEGATIVE, "identity", 6, "deaf"),
    Typed("bad, tall", NEGATIVE, "identity", 6, "tall"),
]

OPINIONS = Rows(
    ["It's bad.", "good", "so", "good " * 13, "good, 8/10", "good, 1,5/10.", "good, 3/100 and 7/10/2015"],
    [0, 1, 0, 1, 1, 0, 0],
    ["hotels", "hotels", "hotels", "hotels", "imdb", "imdb", "imdb"],
)


def answer(texts: Sequence[str]) -> Answers:
    """Answer by the words; "surely" is confident. A curly quote is taken for praise."""
    return Answers(np.array([*map(_said, texts)]), np.array([text.startswith("surely") for text in texts]))


def _said(text: str) -> list[float]:
    if ("bad" in text and CURLY not in text) or text.endswith(" 😡"):
        return [0.7, 0.2, 0.1]
    return [0.1, 0.2, 0.7] if "good" in text or CURLY in text else [0.3, 0.5, 0.2]


def test_measures() -> None:
    """Families count the same, words for people are compared within a sentence, and edited texts with plain ones."""
    found = dict(measure(answer, Basis(TEXTS, WORDS, OPINIONS)))
    assert found == {
        "right with three labels, mean of the families (4)": "0.667",
        "emojis, mean of their families (2)": "0.750",
        "emoji alone (1)": "1.000",
        "emoji glued (2)": "0.500",
        "identity (6)": "0.667",
        "long turns (2)": "0.500",
        "`confident`, share, mean of the families": "0.292",
        "`confident`, right, families count the same": "0.429",
        "`confident`, share of the texts without words for people": "0.400",
        "`confident`, right of the texts without words for people": "0.500",
        "long turns that are confident and wrong, of 2": "1",
        "words for people without an opinion, confident opinions": "0.500",
        "sentences of 2 with an opinion whose label changes": "1",
        "texts of these with another label than most": "1",
        "pairs of words whose `negative` differs by at most 0.25": "0.333",
        "texts of at most 12 words, three labels (3)": "0.667",
        "texts of at most 12 words, positive against negative (3)": "1.000",
        "an emoji glued on, less plain, three labels, points": "+0.0",
        "an emoji glued on, less plain, positive against negative, points": "+0.0",
        "an emoji after a space, less plain, three labels, points": "+33.3",
        "an emoji after a space, less plain, positive against negative, points": "+0.0",
        "typographic punctuation, less plain, three labels, points": "-33.3",
        "typographic punctuation, less plain, positive against negative, points": "-33.3",
        "reviews of IMDB with N/10, positive against negative (2)": "0.500",
    }


def test_measures_without_folders() -> None:
    """Without opinions of folders, and of a model that does not say whether it is confident, the rest is measured."""
    plain = Basis([Typed("good", POSITIVE, "short answers", 0)], WORDS, Rows([], [], []))
    found = dict(measure(lambda texts: Answers(answer(texts).probabilities), plain))
    assert found == {"right with three labels, mean of the families (1)": "1.000", "short answers (1)": "1.000"}


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ("Don't", f"Don{CURLY}t"),
        ('a "good" film, "they" say', "a “good” film, “they” say"),
        ("so....", "so…"),
        ("bad - and late -- again", "bad \N{EN DASH} and late \N{EN DASH} again"),
        ("well-known. 5' 'ok", "well-known. 5' 'ok"),
    ],
)
def test_typographic(plain: str, expected: str) -> None:
    """Quotes between quotes and letters are curly, spaced hyphens are dashes, and three dots are an ellipsis."""
    assert typographic(plain) == expected
