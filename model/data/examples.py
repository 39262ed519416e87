"""Texts with the index of their label, which training and evaluation work on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.data.rows import Row
from sentiment_conv1d.tables import DataError, Fault


@dataclass(frozen=True, eq=False)
class Examples:
    """Texts and their labels. `rows` are the rows that they were read from, if they were read."""

    texts: list[str]
    labels: npt.NDArray[np.int64]  # [texts], indices into the label names; [texts, labels] of 0 and 1 for several
    rows: Sequence[Row] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def counts(self, number: int) -> list[int]:
        """Return how many texts have each of `number` labels."""
        several = self.labels.ndim == 2
        counts = self.labels.sum(axis=0) if several else np.bincount(self.labels, minlength=number)
        return [int(count) for count in counts]

    def take(self, indices: npt.NDArray[np.intp]) -> Examples:
        """Return the examples at these positions, in this order."""
        rows = [self.rows[index] for index in indices] if self.rows else ()
        return Examples([self.texts[index] for index in indices], self.labels[indices], rows)


def joined(parts: Iterable[Examples | None]) -> Examples:
    """Return the examples of several parts together. None is no part."""
    present = [part for part in parts if part is not None]
    return Examples(
        [text for part in present for text in part.texts],
        np.concatenate([part.labels for part in present]),
        [row for part in present for row in part.rows],
    )


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """The texts to measure a trained model on. `source` describes what was read."""

    examples: Examples
    source: str
    faults: tuple[Fault, ...] = ()  # rows that were left out


@dataclass(frozen=True, eq=False)
class Dataset:
    """The content of one or several sources. `source` and `test_source` describe them in words.

    `unlabelled` contains the texts without a label, if the caller asked for them.
    """

    label_names: tuple[str, ...]
    train: Examples
    test: Examples | None
    source: str
    test_source: str | None
    faults: tuple[Fault, ...] = ()  # rows that were left out
    unlabelled: tuple[str, ...] = ()


def split(examples: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Hold out a fraction of each label. Returns the rest and the held-out examples, both in their original order.

    Equal texts stay on one side, so a label's share is not exact if its texts repeat. The same seed gives the same
    split. Raises `DataError` if the fraction is not between 0 and 1, or if a label has a single text, which cannot be
    on both sides.
    """
    if not 0 < fraction < 1:
        raise DataError(f"the fraction to hold out must be between 0 and 1, not {fraction}")
    generator = np.random.default_rng(seed)
    copies: dict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(examples.texts):
        copies[text].append(index)
    is_held_out = np.zeros(len(examples), bool)
    kept: set[str] = set()
    for label, members in _groups(examples):
        texts = list(dict.fromkeys(examples.texts[index] for index in generator.permutation(members)))
        if len(texts) < 2:
            raise DataError(
                f"label number {label} has a single text ({texts[0][:40]!r}), which cannot be both held out and kept"
            )
        size = min(max(round(len(members) * fraction), 1), len(members) - 1) - int(is_held_out[members].sum())
        if examples.labels.ndim == 2:
            # A text of several labels must not be held out for one of them if another one has no other text to keep.
            kept.add(next((text for text in texts if not is_held_out[copies[text][0]]), texts[0]))
        free = [text for text in texts if not is_held_out[copies[text][0]] and text not in kept]
        for text in _held_out(free, copies, size):
            is_held_out[copies[text]] = True
    return examples.take(np.flatnonzero(~is_held_out)), examples.take(np.flatnonzero(is_held_out))


def _groups(examples: Examples) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Yield each label with its examples.

    If a text can have several labels, the rarest label comes first, and the texts without a label last.
    """
    if examples.labels.ndim == 1:
        for label in np.unique(examples.labels):
            yield int(label), np.flatnonzero(examples.labels == label)
        return
    for label in np.argsort(examples.labels.sum(axis=0), kind="stable"):
        yield int(label), np.flatnonzero(examples.labels[:, label])
    without = np.flatnonzero(~examples.labels.any(axis=1))
    if len({examples.texts[index] for index in without}) > 1:
        yield examples.labels.shape[1], without


def parts(examples: Examples, number: int, seed: int) -> npt.NDArray[np.int64]:
    """Divide examples into parts with about equal numbers of each label. Returns the part of each example: [examples].

    Equal texts are in the same part. The same seed gives the same parts. A part that has no example is left out.
    """
    counts: dict[int, int] = defaultdict(int)
    found: dict[str, int] = {}
    for index in np.random.default_rng(seed).permutation(len(examples)):
        text, label = examples.texts[index], int(examples.labels[index])
        if text not in found:
            found[text] = (label + counts[label]) % number  # rare labels are not all in the first part
            counts[label] += 1
    return np.array([found[text] for text in examples.texts], np.int64)


def _held_out(texts: Sequence[str], copies: Mapping[str, Sequence[int]], size: int) -> Iterator[str]:
    """Yield texts with at most `size` copies together, or the text with the fewest copies if all have more."""
    found = False
    for text in texts:
        if len(copies[text]) <= size:
            size -= len(copies[text])
            found = True
            yield text
    if size > 0 and not found and texts:
        yield min(texts, key=lambda text: len(copies[text]))
