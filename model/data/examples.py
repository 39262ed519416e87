"""Texts with the index of their label, which training and evaluation work on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.tables import DataError, Fault


@dataclass(frozen=True, eq=False)
class Examples:
    """Texts and their labels."""

    texts: list[str]
    labels: npt.NDArray[np.int64]  # [len(texts)], indices into the label names

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: npt.NDArray[np.intp]) -> Examples:
        """Return the examples at these positions, in this order."""
        return Examples([self.texts[index] for index in indices], self.labels[indices])


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

    The same seed gives the same split. Raises `DataError` if the fraction is not between 0 and 1, or if a label has
    a single example, which cannot be on both sides.
    """
    if not 0 < fraction < 1:
        raise DataError(f"the fraction to hold out must be between 0 and 1, not {fraction}")
    generator = np.random.default_rng(seed)
    is_held_out = np.zeros(len(examples), bool)
    for label in np.unique(examples.labels):
        members = np.flatnonzero(examples.labels == label)
        if len(members) < 2:
            text = examples.texts[members[0]]
            raise DataError(
                f"label number {label} has a single example ({text[:40]!r}), which cannot be both held out and kept"
            )
        size = min(max(round(len(members) * fraction), 1), len(members) - 1)
        is_held_out[generator.permutation(members)[:size]] = True
    return examples.take(np.flatnonzero(~is_held_out)), examples.take(np.flatnonzero(is_held_out))
