"""The plan of a training: which texts are trained on, and which are held out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sentiment_conv1d.model.data.examples import Dataset, Examples, joined, split
from sentiment_conv1d.model.data.training_texts import TrainingTexts
from sentiment_conv1d.tables import DataError, Fault


@dataclass(frozen=True)
class Plan:
    """The texts that a run trains on and is measured on. The sources describe in words where they come from."""

    label_names: tuple[str, ...]
    train: Examples
    validation: Examples | None  # decides when training ends, and everything of the decision rule
    test: Examples | None
    source: str  # of all labelled texts that were read to train on
    labelled: int  # their number
    validation_source: str | None
    test_source: str | None
    unlabelled: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()  # rows that were left out

    @property
    def used_texts(self) -> list[str]:
        """The texts that the model depends on: it was trained on them, or they decided when to stop and the like."""
        validation = [] if self.validation is None else self.validation.texts
        return [*self.train.texts, *validation, *self.unlabelled]


def plan(
    dataset: Dataset,
    *,
    test_fraction: float,
    validation_fraction: float,
    seed: int,
    seen: TrainingTexts | None = None,
) -> Plan:
    """Hold out test texts if the data has no test split, and validation texts if `validation_fraction` is above 0.

    `seen` are the texts of an earlier training that this one continues: they are trained on, and never held out. Raises
    `DataError` if a label has too few examples, or there is no new text to hold out.
    """
    known, new = (None, dataset) if seen is None else _apart(dataset, seen)
    train, test, test_source = new.train, new.test, new.test_source
    holds_out = (test is None and test_fraction > 0) or validation_fraction > 0
    if seen is not None and ((holds_out and not len(train)) or (test is not None and not len(test))):
        raise DataError("the earlier run was trained on all texts, so there is none to hold out: pass new texts")
    validation = validation_source = None
    if test is None and test_fraction > 0:
        train, test = split(train, test_fraction, seed)
        test_source = f"{len(test):,} held out of {dataset.source}"
    if validation_fraction > 0:
        train, validation = split(train, validation_fraction, seed + 1)
        validation_source = f"{len(validation):,} held out of {dataset.source}"
    return Plan(
        dataset.label_names,
        joined([known, train]),
        validation,
        test,
        dataset.source,
        len(dataset.train),
        validation_source,
        test_source,
        dataset.unlabelled,
        dataset.faults,
    )


def _apart(dataset: Dataset, seen: TrainingTexts) -> tuple[Examples, Dataset]:
    """Return the training examples with texts that were seen, and the dataset without seen texts."""
    is_known = seen.contains(dataset.train)
    known, train = dataset.train.take(np.flatnonzero(is_known)), dataset.train.take(np.flatnonzero(~is_known))
    test, source = dataset.test, dataset.test_source
    if dataset.test is not None:
        test = seen.held_out(dataset.test)
        if len(test) < len(dataset.test):
            source = f"{len(test):,} new ones of {source}"
    return known, replace(dataset, train=train, test=test, test_source=source)
