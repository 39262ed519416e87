"""Samples of the texts of a mixture: the texts that an epoch reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from research.mixture.plan import Mixture

#: The label of a text without one.
UNLABELLED = -1

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
        """Return weights with which all domains and both labels count the same, except where there are few texts."""
        groups = self.held_out_domains * 2 + labels
        counts = np.bincount(groups)
        weights: npt.NDArray[np.float32] = (np.minimum(counts, _FEW_TEXTS) / np.maximum(counts, 1))[groups]
        return weights.astype(np.float32)

    def labelled(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw as many negative as positive texts of each domain, as far as `repeats` allows, in random order."""
        drawn = []
        for number, name in enumerate(self.names):
            amount = self.mixture.amount(name)
            groups = [np.flatnonzero((self.domains == number) & (self.labels == label)) for label in (0, 1)]
            most = min(amount.texts, max(map(len, groups)))
            for group in groups:
                count = min(most, amount.repeats * len(group))
                turns = [generator.permutation(group) for _ in range(-(-count // max(len(group), 1)))]
                drawn += [np.concatenate(turns)[:count]] if turns else []
        return generator.permutation(np.concatenate(drawn))

    def unlabelled(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw texts without a label."""
        drawn = [np.empty(0, np.int64)]
        for number, name in enumerate(self.names):
            group = np.flatnonzero((self.domains == number) & (self.labels == UNLABELLED))
            drawn.append(generator.permutation(group)[: self.mixture.amount(name).unlabelled])
        return np.concatenate(drawn)

    def all(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw labelled texts and unlabelled ones, in random order."""
        return generator.permutation(np.concatenate([self.labelled(generator), self.unlabelled(generator)]))

    def lines(self) -> Iterator[str]:
        """Yield the numbers of texts of each domain as lines for a terminal."""
        width = max(map(len, self.names))
        for number, name in enumerate(self.names):
            negative, positive, unlabelled = (
                int(np.count_nonzero((self.domains == number) & (self.labels == label))) for label in (0, 1, UNLABELLED)
            )
            labelled = f"{negative:>8,} negative  {positive:>8,} positive"
            yield f"  {name:{width}}  {labelled}  {unlabelled:>8,} without a label"
