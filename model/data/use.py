"""What a training does with its texts: which it learns, which decide, and which measure the network.

These are three sets, which can overlap. Everything that states their sizes reads them from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.model.data.examples import Examples, joined
from sentiment_conv1d.model.data.plan import Plan

#: An ensemble holds out each part of fewer texts than this in turn.
FEW = 2_000


class LabelCount(NamedTuple):
    """The number of examples with a label in each set; 0 in a set that is missing."""

    label: str
    learned: int
    decided: int
    measured: int


@dataclass(frozen=True)
class Use:
    """The use of the texts of a plan."""

    plan: Plan
    given: Examples  # to learn
    decided: Examples | None
    decided_source: str | None
    in_turn: bool = False  # whether each part of the given texts decides about a training on the others
    keeps_start: bool = False  # whether the network is the one that the training started with, and has learned nothing

    @property
    def learned(self) -> Examples:
        """The labelled texts that the network has learned."""
        return self.given.take(np.arange(0)) if self.keeps_start else self.given

    @property
    def learned_source(self) -> str:
        """The learned texts in words."""
        plan, number = self.plan, len(self.learned)
        said = plan.source if number == plan.labelled else f"{f'{number:,}' if number else 'none'} of {plan.source}"
        return f"{said} and {len(plan.unlabelled):,} without a label" if plan.unlabelled else said

    def counts(self) -> tuple[LabelCount, ...]:
        """Return the number of texts with each label."""
        names = self.plan.label_names
        sets = (self.learned, self.decided, self.plan.test)
        return tuple(
            map(LabelCount, names, *([0] * len(names) if each is None else each.counts(len(names)) for each in sets))
        )


def use_of(configuration: BaseConfiguration, plan: Plan, *, continues_run: bool = False) -> Use:
    """Return what a training with this configuration does with the texts, if it learns any.

    An ensemble is trained again on all texts, those that decided too. If they are few, each part of them decides about
    a training on the others, unless it `continues_run`, the start of which can have learned any of them.
    """
    if configuration.recipe != "ensemble" or plan.validation is None:
        return Use(plan, plan.train, plan.validation, plan.validation_source)
    every = joined([plan.train, plan.validation])
    if len(every) >= FEW or continues_run:
        return Use(plan, every, plan.validation, plan.validation_source)
    return Use(plan, every, every, f"{len(every):,} training texts, each held out in turn", in_turn=True)
