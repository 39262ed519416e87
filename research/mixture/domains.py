"""Texts of several domains, from folders with one or two files for each part.

A folder has `train`, and perhaps `neutral_train`, `test`, `neutral_test` and `unlabelled` (or `unsup`), in any format
that has columns. The columns are `text`, `label` (0 or negative, 1 or positive, neutral or mixed) and `domain`. In a
folder without the last one, its name is the domain. Texts of `unlabelled` that `stars` rates with 2.5 to 3.5 are texts
of the domain `three-stars` with the label neutral.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from research.mixture import typed
from research.mixture.labels import LABELS, NEGATIVE, NEUTRAL, POSITIVE, UNLABELLED, number, of_stars
from research.mixture.plan import DEFAULT_PLAN, Mixture
from research.mixture.sampling import Sampling
from research.mixture.stored_answers import StoredAnswers
from research.mixture.typed_words import TypedWords
from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.model.data.examples import Examples
from sentiment_conv1d.model.data.plan import Plan
from sentiment_conv1d.tables import READABLE, DataError, open_table

#: The names of the files of each part.
_PARTS = {"train": ("train", "neutral_train"), "test": ("test", "neutral_test"), "unlabelled": ("unlabelled", "unsup")}

#: The domains of reviews of three stars, and of the texts of `Mixture.contrast` and `Mixture.typed`.
THREE_STARS, CONTRAST, TYPED = "three-stars", "contrast", "typed"


@dataclass(frozen=True)
class MixturePlan(Plan):
    """The texts of several domains, of which a training draws a sample in every epoch."""

    sampling: Sampling = field(kw_only=True)
    answers: StoredAnswers = field(kw_only=True)  # of other models, to the texts
    words: TypedWords | None = field(kw_only=True)  # that the vocabulary contains

    @property
    def written(self) -> Iterator[str]:
        """The hand-written texts that are learned."""
        named = [number for number, name in enumerate(self.sampling.names) if name in (CONTRAST, TYPED)]
        for text, domain in zip(self.train.texts, self.sampling.domains.tolist(), strict=False):
            if domain in named:
                yield text

    def digest(self) -> bytes:
        """Return bytes that identify the domains, the answers and the words."""
        arrays = (self.sampling.domains, self.answers.digests, self.answers.log_odds)
        words = "" if self.words is None else repr(self.words)
        return b"".join([*(array.tobytes() for array in arrays), words.encode()])


class _Text(NamedTuple):
    text: str
    label: int
    domain: str


def _read(folders: Sequence[Path], written: Sequence[_Text], without: Sequence[str]) -> dict[str, list[_Text]]:
    """Read the texts of all folders by part, except those of the domains `without`. `written` are for training, too.

    Raises `DataError`, which names the file, also for a domain that does not exist.
    """
    found = {part: [each for folder in folders for each in _read_part(folder, part)] for part in _PARTS}
    rated = [each for each in found["unlabelled"] if each.label != UNLABELLED]
    parts = {
        "train": [*found["train"], *rated, *written],
        "test": found["test"],
        "unlabelled": [each for each in found["unlabelled"] if each.label == UNLABELLED],
    }
    known = sorted({each.domain for part in ("train", "unlabelled") for each in parts[part]})
    for domain in without:
        if domain not in known:
            raise DataError(f"there is no domain {domain!r} to leave out; domains: {', '.join(known)}")
    left = {part: [each for each in texts if each.domain not in without] for part, texts in parts.items()}
    opinions = {(each.domain, each.label) for each in left["train"] if each.label != NEUTRAL}
    for domain in sorted({domain for domain, _ in opinions}):
        for label, name in enumerate(LABELS):
            if label != NEUTRAL and (domain, label) not in opinions:
                raise DataError(
                    f"the domain {domain!r} has no {name} texts to train on; --without {domain} leaves it out"
                )
    return left


def _read_part(folder: Path, part: str) -> Iterator[_Text]:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; a mixture is read from folders with a file train.parquet")
    files = [file for name in _PARTS[part] if (file := _find(folder, name)) is not None]
    if part == "train" and not files:
        raise DataError(f"{folder}: there is no file train.parquet or train.csv")
    for file in files:
        yield from _read_file(file, folder.name, has_labels=part != "unlabelled")


def _find(folder: Path, name: str) -> Path | None:
    files = [folder / f"{name}{kind}" for kind in READABLE if kind != ".txt"]
    return next((file for file in files if file.is_file()), None)


def _read_written(mixture: Mixture, plan: Path) -> Iterator[_Text]:
    """Read the files of hand-written texts that a plan names, and no others of their folders."""
    if mixture.contrast is not None:
        for name in mixture.learned:
            yield from _read_file(Mixture.beside(plan, mixture.contrast) / name, CONTRAST, has_labels=True)
    if mixture.typed is not None:
        for each in typed.read(Mixture.beside(plan, mixture.typed)):
            yield _Text(each.text, each.label, TYPED)


def _read_file(file: Path, domain: str, *, has_labels: bool) -> Iterator[_Text]:
    """Yield the texts of a file. `domain` is theirs if the file has no column for it."""
    with open_table(file) as table:
        for column in ("text", "label") if has_labels else ("text",):
            table.require(column)
        has_domain = table.columns is None or "domain" in table.columns
        has_stars = table.columns is not None and "stars" in table.columns
        label_column = "label" if has_labels else "stars" if has_stars else None
        wanted = ("text", label_column, "domain" if has_domain else None)
        for chunk in table.chunks([column for column in wanted if column is not None]):
            texts = chunk.strings("text")
            labels = [None] * len(texts) if label_column is None else chunk.values(label_column)
            domains = chunk.values("domain") if has_domain else [domain] * len(texts)
            for row, text, label, named in zip(chunk.numbers, texts, labels, domains, strict=True):
                place = chunk.location(row)
                if not text or not text.strip() or not named:
                    raise DataError(f"{place}: the text or the domain is empty")
                if has_labels:
                    yield _Text(text, _number(label, place), str(named))
                else:
                    stars = of_stars(label)
                    yield _Text(text, stars, str(named) if stars == UNLABELLED else THREE_STARS)


def _number(label: object, place: str) -> int:
    found = number(label)
    if found is None:
        raise DataError(f"{place}: the label is {label!r}, not 0, 1, mixed, {', '.join(LABELS[:-1])} or {LABELS[-1]}")
    return found


def mixture_plan(
    mixture: Mixture, folders: Sequence[Path], held_out: float, seed: int, plan: Path = DEFAULT_PLAN
) -> MixturePlan:
    """Read the folders and hold out a share of the labelled texts, but at least one of each opinion.

    `plan` is the file of the mixture, beside which are the files that it names. Raises `DataError`.
    """
    answers = (
        StoredAnswers.none() if mixture.answers is None else StoredAnswers.read(Mixture.beside(plan, mixture.answers))
    )
    words = None if mixture.typed is None else TypedWords.read(Mixture.beside(plan, mixture.typed).parent / typed.WORDS)
    texts = _read(folders, [*_read_written(mixture, plan)], mixture.without)
    texts["train"], doubtful = _agreed(mixture, texts["train"], answers)
    texts["unlabelled"] += doubtful
    generator = np.random.default_rng(seed)
    is_held_out = generator.random(len(texts["train"])) < held_out
    is_held_out &= [each.domain != TYPED for each in texts["train"]]  # a text with another emoji would be learned
    train = [each for each, held in zip(texts["train"], is_held_out, strict=True) if not held]
    validation = [each for each, held in zip(texts["train"], is_held_out, strict=True) if held]
    for part, what in ((train, "train on"), (validation, "hold out")):
        if not {NEGATIVE, POSITIVE} <= {each.label for each in part}:
            raise DataError(f"{folders[0]}: there are too few negative and positive texts to {what}")
    # The domains of the labelled texts come first.
    domains = dict.fromkeys(each.domain for part in ("train", "unlabelled") for each in texts[part])
    numbers = {domain: number for number, domain in enumerate(domains)}
    used = [*train, *texts["unlabelled"]]
    names = " and ".join(folder.name for folder in folders)
    source = f"{counted(len(texts['train']), 'review')} of {names}"
    return MixturePlan(
        LABELS,
        _examples(train),
        _examples(validation),
        _examples(texts["test"]) if texts["test"] else None,
        source,
        len(texts["train"]),
        f"{len(validation):,} held out of {source}",
        f"{counted(len(texts['test']), 'review')} of the test splits of {names}" if texts["test"] else None,
        tuple(each.text for each in texts["unlabelled"]),
        sampling=Sampling(
            mixture,
            np.array([each.label for each in used], np.int64),
            tuple(numbers),
            np.array([numbers[each.domain] for each in used], np.int64),
            np.array([numbers.get(each.domain, 0) for each in validation], np.int64),
        ),
        answers=answers,
        words=words,
    )


def _agreed(mixture: Mixture, texts: Sequence[_Text], answers: StoredAnswers) -> tuple[list[_Text], list[_Text]]:
    """Return the texts with a label, and the texts whose label is ignored."""
    least = np.array([mixture.amount(each.domain).agreement for each in texts])
    doubtful = np.zeros(len(texts), bool)
    asked = np.flatnonzero(least > 0).tolist()
    signs = np.array([texts[index].label - NEUTRAL for index in asked])
    agreement = expit(signs * answers.to([texts[index].text for index in asked])[:, 1])
    doubtful[asked] = agreement < least[asked]  # not of a text without an answer
    return (
        [each for each, is_doubtful in zip(texts, doubtful, strict=True) if not is_doubtful],
        [each._replace(label=UNLABELLED) for each, is_doubtful in zip(texts, doubtful, strict=True) if is_doubtful],
    )


def _examples(texts: Sequence[_Text]) -> Examples:
    return Examples([each.text for each in texts], np.array([each.label for each in texts], np.int64))
