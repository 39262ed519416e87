"""`python -m benchmarks.accuracy.typed MODEL ...`: models on short texts as people type them first.

`MODEL` is the name of a shipped model, or a path of a folder NAME/VERSION. The texts are those of a part of
`research/contrast/typed` from which no model learns. With `--reviews FOLDER`, the short opinions of its `test.parquet`
are measured as they are, with an emoji of the same sense, and with typographic punctuation. With `--imdb FOLDER`, its
reviews with a rating such as 8/10 are. A model with two labels never answers `neutral`.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy import domains
from benchmarks.accuracy.domains import IMDB, Rows
from benchmarks.accuracy.neutral import NEGATIVE, NEUTRAL, POSITIVE, Answer, Answers, model, report_of
from benchmarks.markdown import circumstances
from loadtest.processes import PROJECT
from research.mixture import typed
from research.mixture.typed import Typed
from research.mixture.typed_words import TypedWords

#: The parts that are not learned.
PARTS = ("final", "deciding")

#: The most words of a short text.
_SHORT = 12

#: Probabilities of `negative` of two words for people in a sentence are close if they differ by no more than this.
_CLOSE = 0.25

_TYPED = PROJECT / "research" / "contrast" / "typed"

_OF_TEN = re.compile(r"(?<![\w.,/])(?:10|\d(?:[.,]5)?)/10(?![\w/])")

#: What a word processor makes of typed punctuation.
_TYPOGRAPHY = (
    (re.compile(r"(?<=\w)'(?=\w)"), "\N{RIGHT SINGLE QUOTATION MARK}"),
    (re.compile(r'"([^"]*)"'), "\N{LEFT DOUBLE QUOTATION MARK}\\1\N{RIGHT DOUBLE QUOTATION MARK}"),
    (re.compile(r"\.{3,}"), "\N{HORIZONTAL ELLIPSIS}"),
    (re.compile(r" --? "), " \N{EN DASH} "),
)

_END = " .,;:!?"

Flags = npt.NDArray[np.bool_]


class Basis(NamedTuple):
    """What a model is measured on."""

    typed: list[Typed]
    words: TypedWords
    opinions: Rows


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["reviews"], metavar="MODEL")
    parser.add_argument("--part", choices=PARTS, default=PARTS[0], help="the part of the texts (default: %(default)s)")
    parser.add_argument("--reviews", type=Path, metavar="FOLDER", help="also measure its short texts")
    parser.add_argument("--imdb", type=Path, metavar="FOLDER", help="also measure its reviews with a rating")
    parser.add_argument("--smoke", action="store_true", help="a few generated opinions; their numbers mean nothing")
    options = parser.parse_args()
    folders = {IMDB: options.imdb, "": options.reviews}
    known = {domain: folder for domain, folder in folders.items() if folder is not None}
    opinions = _generated() if options.smoke else domains.read(known, "test")
    basis = Basis(typed.read(_TYPED / f"{options.part}.csv"), TypedWords.read(_TYPED / typed.WORDS), opinions)
    columns = {name: dict(measure(model(name), basis)) for name in options.models}
    print(circumstances(), "", report_of(columns), sep="\n")


def measure(answer: Answer, basis: Basis) -> Iterator[tuple[str, str]]:
    """Yield measures by name."""
    answers = answer([each.text for each in basis.typed])
    yield from _families(answers, basis.typed)
    if answers.confident is not None:
        yield from _confident(answers.said, answers.confident, basis.typed)
    yield from _people(answers, basis.typed)
    yield from _short(answer, basis)
    yield from _rated(answer, basis.opinions)


def typographic(text: str) -> str:
    """Return a text with curly quotes, dashes and ellipses."""
    for pattern, replacement in _TYPOGRAPHY:
        text = pattern.sub(replacement, text)
    return text


def _families(answers: Answers, texts: Sequence[Typed]) -> Iterator[tuple[str, str]]:
    right, families = answers.said == _labels(texts), _names(texts)
    shares = {str(name): float(right[families == name].mean()) for name in np.unique(families)}
    emojis = [share for name, share in shares.items() if name.startswith("emoji ")]
    yield f"right with three labels, mean of the families ({len(shares)})", f"{np.mean([*shares.values()]):.3f}"
    if emojis:
        yield f"emojis, mean of their families ({len(emojis)})", f"{np.mean(emojis):.3f}"
    for name, share in shares.items():
        yield f"{name} ({(families == name).sum()})", f"{share:.3f}"


def _confident(said: npt.NDArray[np.int64], sure: Flags, texts: Sequence[Typed]) -> Iterator[tuple[str, str]]:
    right, families = said == _labels(texts), _names(texts)
    _, own, sizes = np.unique(families, return_inverse=True, return_counts=True)
    weights = 1 / (sizes[own] * len(sizes))
    yield "`confident`, share, mean of the families", f"{weights[sure].sum():.3f}"
    if sure.any():
        yield "`confident`, right, families count the same", f"{np.average(right[sure], weights=weights[sure]):.3f}"
    others = ~_has_word(texts)
    yield "`confident`, share of the texts without words for people", _share(sure[others])
    yield "`confident`, right of the texts without words for people", _share(right[others & sure])
    turns = families == "long turns"
    yield f"long turns that are confident and wrong, of {turns.sum()}", f"{(turns & sure & ~right).sum()}"


def _people(answers: Answers, texts: Sequence[Typed]) -> Iterator[tuple[str, str]]:
    labels, has_word = _labels(texts), _has_word(texts)
    if answers.confident is not None:
        wrong = answers.confident & (answers.said != NEUTRAL)
        yield "words for people without an opinion, confident opinions", _share(wrong[has_word & (labels == NEUTRAL)])
    rows = np.array([each.row for each in texts])
    changed, close = [], []
    for row in np.unique(rows[has_word]):
        said, negative = answers.said[rows == row], answers.probabilities[rows == row, NEGATIVE]
        if labels[rows == row][0] != NEUTRAL:
            changed.append(len(said) - np.bincount(said).max())
        one, other = np.triu_indices(len(negative), 1)
        close.append(np.abs(negative[one] - negative[other]) <= _CLOSE)
    if close:
        yield f"sentences of {len(changed)} with an opinion whose label changes", f"{np.count_nonzero(changed)}"
        yield "texts of these with another label than most", f"{sum(changed)}"
        yield f"pairs of words whose `negative` differs by at most {_CLOSE}", f"{np.concatenate(close).mean():.3f}"


def _short(answer: Answer, basis: Basis) -> Iterator[tuple[str, str]]:
    chosen = (basis.opinions.domains != IMDB) & (basis.opinions.words <= _SHORT)
    texts = [text.rstrip() for text, is_short in zip(basis.opinions.texts, chosen, strict=True) if is_short]
    if not texts:
        return
    labels = np.where(basis.opinions.labels[chosen] == 1, POSITIVE, NEGATIVE)
    generator = random.Random(0)
    senses = {label: basis.words.emojis(sense) for label, sense in ((POSITIVE, "for"), (NEGATIVE, "against"))}
    emojis = [generator.choice(senses[label]) for label in labels.tolist()]
    edited = {
        "an emoji glued on": [text.rstrip(_END) + emoji for text, emoji in zip(texts, emojis, strict=True)],
        "an emoji after a space": [f"{text} {emoji}" for text, emoji in zip(texts, emojis, strict=True)],
        "typographic punctuation": [typographic(text) for text in texts],
    }
    plain = _right(answer(texts), labels)
    for measured, right in plain.items():
        yield f"texts of at most {_SHORT} words, {measured} ({len(texts)})", f"{right.mean():.3f}"
    for name, others in edited.items():
        for measured, right in _right(answer(others), labels).items():
            yield f"{name}, less plain, {measured}, points", f"{100 * (right.mean() - plain[measured].mean()):+.1f}"


def _right(answers: Answers, labels: npt.NDArray[np.int64]) -> dict[str, Flags]:
    return {
        "three labels": answers.said == labels,
        "positive against negative": answers.positive == (labels == POSITIVE),
    }


def _rated(answer: Answer, opinions: Rows) -> Iterator[tuple[str, str]]:
    named = zip(opinions.texts, opinions.domains, strict=True)
    rated = np.array([domain == IMDB and _OF_TEN.search(text) is not None for text, domain in named], dtype=bool)
    texts = [text for text, is_rated in zip(opinions.texts, rated, strict=True) if is_rated]
    if texts:
        right = answer(texts).positive == (opinions.labels[rated] == 1)
        yield f"reviews of IMDB with N/10, positive against negative ({len(texts)})", f"{right.mean():.3f}"


def _labels(texts: Sequence[Typed]) -> npt.NDArray[np.int64]:
    return np.array([each.label for each in texts])


def _names(texts: Sequence[Typed]) -> npt.NDArray[np.str_]:
    return np.array([each.family for each in texts])


def _has_word(texts: Sequence[Typed]) -> Flags:
    return np.array([each.word != "" for each in texts])


def _share(flags: Flags) -> str:
    return f"{flags.mean():.3f}" if len(flags) else ""


def _generated() -> Rows:
    texts = ["It's awful...", "It's lovely...", "A film about bees, 2/10", "A film about bees, 9/10"]
    return Rows(texts, [0, 1, 0, 1], ["hotels", "hotels", IMDB, IMDB])


if __name__ == "__main__":
    main()
