"""The plan of a training: which texts are trained on, and which are held out."""

from __future__ import annotations

from dataclasses import dataclass

from sentiment_conv1d.model.data.examples import Dataset, Examples, split
from sentiment_conv1d.model.tables import Fault


@dataclass(frozen=True)
class Plan:
    """The texts that a run trains on and is measured on. The sources describe in words where they come from."""

    label_names: tuple[str, ...]
    train: Examples
    validation: Examples | None  # decides when training ends, and calibrates the probabilities
    test: Examples | None
    source: str
    validation_source: str | None
    test_source: str | None
    unlabelled: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()  # rows that were left out

    @property
    def used_texts(self) -> list[str]:
        """The texts that the model depends on: it was trained on them, or they decided when to stop and the like."""
        validation = [] if self.validation is None else self.validation.texts
        return [*self.train.texts, *validation, *self.unlabelled]


def plan(dataset: Dataset, *, test_fraction: float, validation_fraction: float, seed: int) -> Plan:
    """Hold out test texts if the data has no test part, and validation texts if `validation_fraction` is above 0.

    Raises `DataError` if a label has too few examples.
    """
    train, test, test_source = dataset.train, dataset.test, dataset.test_source
    validation = validation_source = None
    if test is None and test_fraction > 0:
        train, test = split(train, test_fraction, seed)
        test_source = f"{len(test):,} held out of {dataset.source}"
    if validation_fraction > 0:
        train, validation = split(train, validation_fraction, seed + 1)
        validation_source = f"{len(validation):,} held out of {dataset.source}"
    source = dataset.source if len(train) == len(dataset.train) else f"{len(train):,} of {dataset.source}"
    if dataset.unlabelled:
        source += f" and {len(dataset.unlabelled):,} without a label"
    return Plan(
        dataset.label_names,
        train,
        validation,
        test,
        source,
        validation_source,
        test_source,
        dataset.unlabelled,
        dataset.faults,
    )
