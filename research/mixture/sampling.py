"""Samples of the texts of a mixture: the texts that an epoch reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from research.mixture.labels import LABELS, NEUTRAL, UNLABELLED
from research.mixture.plan import Mixture

#: With fewer held-out texts, a label of a domain counts less, so that no single text decides.
_FEW_TEXTS = 60


@dataclass(frozen=True, eq=False)
class Sampling:
    """Draws the texts of an epoch from the labelled texts, which come first, and the unlabelled ones."""

    mixture: Mixture
    labels: npt.NDArray[np.int64]  # -1: unlabelled
    names: tuple[str, ...]
    domains: npt.NDArray[np.int64]  # indices into `names`
    held_out_domains: npt.NDArray[np.int64]  # of the held-out texts

    def held_out_weights(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return weights with which all domains and labels count the same, except where there are few texts."""
        groups = self.held_out_domains * len(LABELS) + labels
        counts = np.bincount(groups)
        weights: npt.NDArray[np.float32] = (np.minimum(counts, _FEW_TEXTS) / np.maximum(counts, 1))[groups]
        return weights.astype(np.float32)

    def held_out_opinions(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return weights with which the opinions of all domains count the same. The other texts have the weight 0."""
        opinions = labels != NEUTRAL
        sizes = np.bincount(self.held_out_domains[opinions], minlength=len(self.names))
        few: npt.NDArray[np.float64] = np.minimum(sizes, _FEW_TEXTS) / np.maximum(sizes, 1)
        return np.where(opinions, few[self.held_out_domains], 0).astype(np.float32)

    def in_last_epoch(self) -> Sampling:
        """Return what draws the texts of the last epoch."""
        return replace(self, mixture=self.mixture.in_last_epoch())

    def labelled(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw as many texts of each label of a domain, as far as `repeats` allows, in random order."""
        drawn = []
        for number, name in enumerate(self.names):
            amount = self.mixture.amount(name)
            groups = [np.flatnonzero((self.domains == number) & (self.labels == label)) for label in range(len(LABELS))]
            most = min(amount.texts, max(map(len, groups)))
            for group in groups:
                count = min(most, amount.repeats * len(group))
                turns = [generator.permutation(group) for _ in range(-(-count // max(len(group), 1)))]
                drawn += amount.copies * [np.concatenate(turns)[:count]] if turns else []
        return generator.permutation(np.concatenate(drawn))

    def unlabelled(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw texts without a label."""
        drawn = [np.empty(0, np.int64)]
        for number, name in enumerate(self.names):
            group = np.flatnonzero((self.domains == number) & (self.labels == UNLABELLED))
            drawn.append(generator.permutation(group)[: self.mixture.amount(name).unlabelled])
        return np.concatenate(drawn)

    def others(self, labelled: npt.NDArray[np.int64], generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw labelled texts that are none of `labelled`."""
        known = np.flatnonzero(self.labels != UNLABELLED)
        return generator.permutation(np.setdiff1d(known, labelled))[: self.mixture.others]

    def lines(self) -> Iterator[str]:
        """Yield the numbers of texts of each domain as lines for a terminal."""
        width = max(map(len, self.names))
        for number, name in enumerate(self.names):
            counts = [
                f"{np.count_nonzero((self.domains == number) & (self.labels == label)):>8,} {what}"
                for label, what in [*enumerate(LABELS), (UNLABELLED, "without a label")]
            ]
            yield "  ".join([f"  {name:{width}}", *counts])
