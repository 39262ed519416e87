"""Texts of several domains, from folders with one file for each part.

A folder has `train`, and perhaps `test` and `unlabelled` (or `unsup`), in any format that has columns. The columns are
`text`, `label` (0 or negative, 1 or positive) and `domain`. In a folder without the last one, its name is the domain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from research.mixture.plan import Mixture
from research.mixture.sampling import UNLABELLED, Sampling
from research.mixture.stored_answers import StoredAnswers
from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.model.data.examples import Examples
from sentiment_conv1d.model.data.labels import SENTIMENTS
from sentiment_conv1d.model.data.plan import Plan
from sentiment_conv1d.tables import READABLE, DataError, open_table

_LABELS = {"0": 0, "1": 1, **{name: number for number, name in enumerate(SENTIMENTS)}}

#: The names of the files of each part.
_PARTS = {"train": ("train",), "test": ("test",), "unlabelled": ("unlabelled", "unsup")}


@dataclass(frozen=True)
class MixturePlan(Plan):
    """The texts of several domains, of which a training draws a sample in every epoch."""

    sampling: Sampling = field(kw_only=True)
    answers: StoredAnswers = field(default_factory=StoredAnswers.none)  # of another model, to the texts

    def digest(self) -> bytes:
        """Return bytes that identify the domains and the answers."""
        return b"".join(
            array.tobytes() for array in (self.sampling.domains, self.answers.digests, self.answers.log_odds)
        )


class _Text(NamedTuple):
    text: str
    label: int
    domain: str


def _read(folders: Sequence[Path], without: Sequence[str]) -> dict[str, list[_Text]]:
    """Read the texts of all folders by part, except those of the domains `without`.

    Raises `DataError`, which names the file, also for a domain that does not exist.
    """
    parts = {part: [each for folder in folders for each in _read_part(folder, part)] for part in _PARTS}
    known = sorted({each.domain for part in ("train", "unlabelled") for each in parts[part]})
    for domain in without:
        if domain not in known:
            raise DataError(f"there is no domain {domain!r} to leave out; domains: {', '.join(known)}")
    left = {part: [each for each in texts if each.domain not in without] for part, texts in parts.items()}
    for domain in sorted({each.domain for each in left["train"]}):
        for label, name in enumerate(SENTIMENTS):
            if not any(each.domain == domain and each.label == label for each in left["train"]):
                raise DataError(
                    f"the domain {domain!r} has no {name} texts to train on; --without {domain} leaves it out"
                )
    return left


def _read_part(folder: Path, part: str) -> Iterator[_Text]:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; a mixture is read from folders with a file train.parquet")
    file = _find(folder, part)
    if file is None:
        if part == "train":
            raise DataError(f"{folder}: there is no file train.parquet or train.csv")
        return
    with open_table(file) as table:
        wanted = ["text"] if part == "unlabelled" else ["text", "label"]
        for column in wanted:
            table.require(column)
        has_domain = table.columns is None or "domain" in table.columns
        for chunk in table.chunks([*wanted, "domain"] if has_domain else wanted):
            texts = chunk.strings("text")
            labels = chunk.values("label") if "label" in wanted else [UNLABELLED] * len(texts)
            domains = chunk.values("domain") if has_domain else [folder.name] * len(texts)
            for number, text, label, domain in zip(chunk.numbers, texts, labels, domains, strict=True):
                if not text or not text.strip() or not domain:
                    raise DataError(f"{chunk.location(number)}: the text or the domain is empty")
                yield _Text(text, _number(label, part, chunk.location(number)), str(domain))


def _find(folder: Path, part: str) -> Path | None:
    files = [folder / f"{name}{kind}" for name in _PARTS[part] for kind in READABLE if kind != ".txt"]
    return next((file for file in files if file.is_file()), None)


def _number(label: Any, part: str, place: str) -> int:
    if part == "unlabelled":
        return UNLABELLED
    number = _LABELS.get(str(label).strip().lower())
    if number is None:
        raise DataError(f"{place}: the label is {label!r}, not 0, 1, {' or '.join(SENTIMENTS)}")
    return number


def mixture_plan(mixture: Mixture, folders: Sequence[Path], held_out: float, seed: int) -> MixturePlan:
    """Read the folders and hold out a share of the labelled texts, but at least one of each label.

    Raises `DataError`.
    """
    texts = _read(folders, mixture.without)
    generator = np.random.default_rng(seed)
    is_held_out = generator.random(len(texts["train"])) < held_out
    train = [each for each, held in zip(texts["train"], is_held_out, strict=True) if not held]
    validation = [each for each, held in zip(texts["train"], is_held_out, strict=True) if held]
    for part, what in ((train, "train on"), (validation, "hold out")):
        if len({each.label for each in part}) < 2:
            raise DataError(f"{folders[0]}: there are too few texts of both labels to {what}")
    # The domains of the labelled texts come first.
    domains = dict.fromkeys(each.domain for part in ("train", "unlabelled") for each in texts[part])
    numbers = {domain: number for number, domain in enumerate(domains)}
    used = [*train, *texts["unlabelled"]]
    names = " and ".join(folder.name for folder in folders)
    source = f"{counted(len(texts['train']), 'review')} of {names}"
    return MixturePlan(
        SENTIMENTS,
        _examples(train),
        _examples(validation),
        _examples(texts["test"]) if texts["test"] else None,
        f"{len(train):,} of {source} and {len(texts['unlabelled']):,} without a label",
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
    )


def _examples(texts: Sequence[_Text]) -> Examples:
    return Examples([each.text for each in texts], np.array([each.label for each in texts], np.int64))
