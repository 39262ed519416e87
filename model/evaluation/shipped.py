"""The shipped models on the test texts of a training, whose labels are opinions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sentiment_conv1d.artifact.artifact import read_artifact, versions
from sentiment_conv1d.commands.default_repository import SHIPPED
from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.data.opinions import opinions_of
from sentiment_conv1d.model.evaluation.candidate import answers_with
from sentiment_conv1d.model.evaluation.evaluation import Evaluation

#: The model that a training on opinions also continues.
_BEST = "reviews"


def best_shipped(labels: tuple[str, ...]) -> Path | None:
    """Return the shipped artifact that a training with these labels can continue; None if they are no opinions."""
    if opinions_of(labels) is None:
        return None
    return next((path for path in _newest() if path.parent.name == _BEST), None)


def measure_shipped(labels: tuple[str, ...], test: Examples) -> dict[str, Evaluation]:
    """Measure each shipped model that has these labels, by name.

    None is measured if the labels are no opinions, or a text can have several.
    """
    if opinions_of(labels) is None or test.labels.ndim > 1:
        return {}
    measured = {}
    for path in _newest():
        outputs = answers_with(read_artifact(path), labels, test.texts)
        if outputs is not None:
            measured[path.parent.name] = Evaluation(labels, test.labels, outputs)
    return measured


def _newest() -> Iterator[Path]:
    """Yield the folder of the newest version of every shipped model."""
    for folder in sorted(SHIPPED.iterdir()) if SHIPPED.is_dir() else []:
        if found := versions(SHIPPED, folder.name):
            yield folder / str(found[-1])
