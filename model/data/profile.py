"""The profile of labelled texts: counts and warnings before a model is trained on them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sentiment_conv1d.artifact.tokenizer import Encoding, VocabularyTokenizer
from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.model.data.rows import SEPARATOR
from sentiment_conv1d.model.data.use import LabelCount, Use

#: Scripts that are written without spaces between words, as ranges of their letters.
_UNSEPARATED = {
    "Chinese characters": "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003134f",
    "Japanese kana": "\u3041-\u30ff",
    "Thai": "\u0e01-\u0e4e",
    "Lao": "\u0e81-\u0ece",
    "Khmer": "\u1780-\u17d3",
    "Burmese": "\u1000-\u103f",
}
_LETTER = re.compile(r"[^\W\d_]")

#: The number of texts whose letters are counted.
_SAMPLE = 1000

#: The shares of letters, tokens and texts above which there is a warning.
_MANY_LETTERS, _MANY_UNKNOWN, _MANY_TRUNCATED, _MOSTLY = 0.2, 0.25, 0.25, 0.8

#: A label with fewer training texts is hardly learned, and measured on one or two texts.
_FEW_TEXTS = 10

#: The share of texts that `fitting_length` leaves whole.
_WHOLE = 0.95

#: The quantiles of the length of a text.
QUANTILES = (0.5, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class Profile:
    """Counts of the texts and tokens of a training. Shares are between 0 and 1."""

    labels: tuple[LabelCount, ...]
    lengths: tuple[int, ...]  # tokens of a training text at each of `QUANTILES`
    max_tokens: int
    truncated: float  # share of the training texts with more tokens than that
    unknown: float  # share of the tokens that are not in the vocabulary, of the test texts if there are any
    repeated: int  # training texts that repeat an earlier one
    contradictory: int  # distinct training texts with several labels
    leaked: int  # test texts that are also training texts
    unseparated: tuple[str, ...]  # frequent scripts in which the tokenizer finds no words
    unlearned: float | None  # share of the training tokens without room in the vocabulary; None if a start is kept
    unlabelled: int | None = None  # training texts without a label; None if each has just one
    unknown_to_start: float | None = None  # share of these tokens that a model to start from does not know, if any

    @property
    def majority(self) -> tuple[str, float]:
        """The most frequent training label, and its share of the test texts or, without any, of the training texts."""
        label = max(self.labels, key=lambda each: each.learned)
        tested = sum(each.measured for each in self.labels)
        if tested:
            return label.label, label.measured / tested
        return label.label, label.learned / sum(each.learned for each in self.labels)

    def lines(self) -> Iterator[str]:
        """Yield the profile as lines for a terminal."""
        width = max(len(each.label) for each in self.labels)
        for label, learned, decided, measured in self.labels:
            counts = f"{learned:>8,} to train on  {decided:>8,} to decide on  {measured:>8,} to measure on"
            yield f"  {label:{width}}  {counts}"
        if self.unlabelled is None:
            yield f"  always answering {self.majority[0]!r} is right in {self.majority[1]:.1%}"
        else:
            yield f"  {counted(self.unlabelled, 'text')} to train on without a label"
        named = zip(("median", "90%", "99%", "longest"), self.lengths, strict=True)
        yield f"  tokens of a text: {', '.join(f'{name} {length:,}' for name, length in named)}"
        yield (
            f"  cut to {self.max_tokens:,} tokens: {self.truncated:.1%} of the texts; "
            f"unknown: {self.unknown:.1%} of the tokens"
        )

    def warnings(self) -> Iterator[str]:
        """Yield warnings about texts that make the model worse, or its metrics too good."""
        if self.unseparated:
            anew = "" if self.unknown_to_start is None else "--init-from none "
            yield (
                f"the texts are written in {' and '.join(self.unseparated)}, without spaces between words, so this "
                f"tokenizer finds no words in them: pass {anew}--tokenizer characters:1-3"
            )
        rare = [f"{each.label!r} ({each.learned})" for each in self.labels if each.learned < _FEW_TEXTS]
        if rare:
            yield (
                f"labels with fewer than {_FEW_TEXTS} texts to train on: {', '.join(rare)}; the model hardly learns "
                "them, and their scores mean little"
            )
        if self.leaked:
            text = (
                "text to measure on is also a training text"
                if self.leaked == 1
                else "texts to measure on are also training texts"
            )
            yield f"{self.leaked:,} {text}, so the metrics are too good"
        if self.contradictory:
            different = "several labels" if self.unlabelled is None else "different labels in different rows"
            yield f"{counted(self.contradictory, 'training text')} with {different}"
        joined = [each.label for each in self.labels if SEPARATOR in each.label]
        if joined:
            yield (
                f"the label {joined[0]!r} contains {SEPARATOR!r}: if that separates several labels of a text, pass "
                "--several-labels"
            )
        if self.repeated:
            yield f"{self.repeated:,} training texts repeat an earlier one"
        if self.unlabelled is None and self.majority[1] > _MOSTLY:
            yield (
                f"always answering {self.majority[0]!r} is right in {self.majority[1]:.1%}, so accuracy says little: "
                "compare the recall of each label, and see --class-weights balanced"
            )
        if self.truncated > _MANY_TRUNCATED:
            yield (
                f"{self.truncated:.1%} of the texts are longer than --max-tokens {self.max_tokens:,}, so the model "
                "reads only their end"
            )
        if not self.unseparated:
            yield from self._unknown_words()

    def _unknown_words(self) -> Iterator[str]:
        """Yield a warning for each cause of many unknown tokens, with what helps against it."""
        if (self.unknown_to_start or 0) > _MANY_UNKNOWN:
            yield (
                f"{self.unknown_to_start:.1%} of the tokens of the training texts are unknown to the model that the "
                "training starts with: if it has learned another language, or its tokenizer does not suit the texts, "
                "pass --init-from none"
            )
        if self.unlearned is not None and self.unknown > _MANY_UNKNOWN:
            # A word that has no room is less frequent in other texts than in those that it was counted in.
            full = self.unlearned > self.unknown / 2
            yield f"{self.unknown:.1%} of the tokens are unknown, " + (
                "because the vocabulary is full: try a larger --vocabulary-size"
                if full
                else "most of which are in no training text: try more training texts"
            )


def fitting_length(texts: Sequence[str], tokenizer: VocabularyTokenizer, least: int, most: int) -> int:
    """Return the tokens that 95% of texts do not exceed, from `least` to `most`."""
    tokens = [encoding.tokens for encoding in tokenizer.encode_batch(texts)]
    return int(np.clip(np.quantile(tokens, _WHOLE, method="higher"), least, most))


def profile(use: Use, tokenizer: VocabularyTokenizer, start: VocabularyTokenizer | None = None) -> Profile:
    """Count the texts that a training is given, and their tokens. The tokenizer must have been learned from them.

    `start` is the tokenizer of the model that the training was told to start from, if there is one.
    """
    texts, labels, test = use.given.texts, use.given.labels, use.plan.test
    encodings = tokenizer.encode_batch(texts)
    tokens = np.array([encoding.tokens for encoding in encodings])
    measured = encodings if test is None else tokenizer.encode_batch(test.texts)
    known = set(texts)
    several = labels.ndim == 2
    labels_of: dict[str, set[Any]] = defaultdict(set)
    for text, label in zip(texts, labels.tolist(), strict=True):
        labels_of[text].add(tuple(label) if several else label)
    return Profile(
        labels=replace(use, keeps_start=False).counts(),
        lengths=tuple(int(length) for length in np.quantile(tokens, QUANTILES, method="higher")),
        max_tokens=tokenizer.max_tokens,
        truncated=float(np.mean(tokens > tokenizer.max_tokens)),
        unknown=_unknown(measured),
        unlearned=None if use.keeps_start else _unknown(encodings),
        repeated=len(texts) - len(known),
        contradictory=sum(len(labels) > 1 for labels in labels_of.values()),
        leaked=0 if test is None else sum(text in known for text in test.texts),
        unlabelled=int(np.sum(~labels.any(axis=1))) if several else None,
        unknown_to_start=None if start is None else _unknown(start.encode_batch(texts)),
        unseparated=() if tokenizer.cuts_characters else _unseparated_scripts(texts),
    )


def _unknown(encodings: Sequence[Encoding]) -> float:
    """Return the share of the tokens of texts that are not in the vocabulary."""
    return sum(each.unknown_tokens or 0 for each in encodings) / max(sum(each.tokens for each in encodings), 1)


def _unseparated_scripts(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the scripts without spaces between words to which many letters of the texts belong."""
    sample = "".join(texts[:: max(1, len(texts) // _SAMPLE)])
    letters = Counter(_LETTER.findall(sample))
    total = max(letters.total(), 1)
    counts = {
        script: sum(letters[letter] for letter in letters if re.match(f"[{ranges}]", letter))
        for script, ranges in _UNSEPARATED.items()
    }
    return tuple(script for script, count in counts.items() if count / total > _MANY_LETTERS)
