"""The search for a configuration: several are trained, and the held-out texts choose one.

The first is the given one. The others have other values for what matters most. The seed of the configuration decides
their order, so a search that tries as many of them finds the same one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import ValidationError
from sklearn.model_selection import ParameterGrid, ParameterSampler

from sentiment_conv1d.model.commands.table import table_lines
from sentiment_conv1d.model.configuration import Configuration, Convolution
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.evaluation.terminal import score_text
from sentiment_conv1d.model.training.fitting import TrainingError
from sentiment_conv1d.model.training.initial import SHAPES
from sentiment_conv1d.model.training.recipes import held_out_outputs, with_labels
from sentiment_conv1d.model.training.task import Task


def _banks(filters: Mapping[int, int]) -> tuple[Convolution, ...]:
    return tuple(Convolution(width=width, filters=count) for width, count in filters.items())


#: The factors of the learning rate of the given configuration.
_LEARNING_RATES = (0.5, 1, 2)

#: The values of the other fields, by recipe.
_SPACES: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "labels": {
        "hidden_dropout": (0.2, 0.5),
        "embedding_dropout": (0, 0.2, 0.5),
        "convolutions": (
            _banks({1: 256}),
            _banks({2: 256}),
            _banks({3: 250}),
            _banks({1: 128, 2: 128}),
            _banks({3: 100, 4: 100, 5: 100}),
        ),
        "hidden_width": (0, 100, 250),
    },
    "ensemble": {
        "hidden_dropout": (0.3, 0.5, 0.7),
        "word_dropout": (0, 0.15, 0.3, 0.45),
        "convolutions": (
            _banks({1: 256}),
            _banks({1: 128, 2: 128}),
            _banks({1: 256, 2: 256}),
            _banks({1: 256, 2: 256, 3: 128}),
        ),
        "vocabulary_size": (5_000, 10_000, 20_000),
    },
}


@dataclass(frozen=True)
class Trial:
    """A configuration that was tried. The measures are None if its loss was not finite."""

    configuration: Configuration
    changes: Mapping[str, str]  # of the given configuration
    log_loss: float | None
    accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class Search:
    """The trials in their order. `asked` is how many the search was to make."""

    held_out: str  # a description of the texts that choose
    asked: int
    trials: tuple[Trial, ...]

    @property
    def chosen(self) -> int:
        """The index of the trial with the lowest log loss on the held-out texts, the first of several equal ones."""
        losses = [np.inf if trial.log_loss is None else trial.log_loss for trial in self.trials]
        return int(np.argmin(losses))

    def rows(self) -> list[list[str]]:
        """Return the trials as a table with a header."""
        rows = [["", "changes", "log loss", "accuracy", "seconds"]]
        for number, trial in enumerate(self.trials):
            changes = ", ".join(f"{name} {value}" for name, value in trial.changes.items()) or "none"
            measures = [score_text(trial.log_loss), score_text(trial.accuracy), f"{trial.seconds:.1f}"]
            rows.append([f"{number + 1}{' (chosen)' * (number == self.chosen)}", changes, *measures])
        return rows

    def lines(self) -> Iterator[str]:
        """Yield the search as lines for a terminal."""
        yield f"search: {len(self.trials)} of {self.asked} configurations, measured on {self.held_out}:"
        yield from table_lines(self.rows(), words=(0, 1))

    def document(self) -> dict[str, Any]:
        """Return the search for `search.json`."""
        trials = [
            {
                "changes": dict(trial.changes),
                "log_loss": trial.log_loss,
                "accuracy": trial.accuracy,
                "seconds": trial.seconds,
            }
            for trial in self.trials
        ]
        return {"measured_on": self.held_out, "asked": self.asked, "chosen": self.chosen + 1, "trials": trials}


def search(task: Task, count: int, *, minutes: float | None = None, fixed: Collection[str] = ()) -> Search:
    """Train up to `count` configurations, and measure each on the held-out texts of the task.

    `fixed` are fields that keep their values. No training starts after `minutes`. Raises `TrainingError`.
    """
    configuration, work = task.configuration, task.work
    if configuration.recipe not in _SPACES:
        raise TrainingError(f"--search: there is nothing to search for the recipe {configuration.recipe}")
    if work.validation is None or work.validation_source is None:
        raise TrainingError("--search chooses on held-out texts: --validation-fraction must be above 0")
    if task.start is not None:
        fixed = {*fixed, *SHAPES, "vocabulary_size"}
    configuration = with_labels(configuration, work.label_names)
    begun = time.perf_counter()
    trials: list[Trial] = []
    for candidate in islice(_candidates(configuration, fixed), count):
        if trials and minutes is not None and time.perf_counter() - begun >= 60 * minutes:
            break
        trials.append(_try(candidate, configuration, task))
    found = Search(work.validation_source, count, tuple(trials))
    if found.trials[found.chosen].log_loss is None:
        raise TrainingError("--search: no configuration has a finite loss: try a smaller --learning-rate")
    return found


def _try(candidate: Configuration, given: Configuration, task: Task) -> Trial:
    work = task.work
    assert work.validation is not None
    begun = time.perf_counter()
    log_loss = accuracy = None
    with TemporaryDirectory(prefix="search-") as folder:
        try:
            outputs = held_out_outputs(replace(task, configuration=candidate, out=Path(folder) / "run"))
        except TrainingError:
            pass  # the loss is not finite, which says enough about the configuration
        else:
            measured = Evaluation(work.label_names, work.validation.labels, outputs)
            log_loss, accuracy = measured.log_loss, measured.accuracy
    changes = {
        name: _shown(value) for name, value in candidate if name in _fields(given) and value != getattr(given, name)
    }
    return Trial(candidate, changes, log_loss, accuracy, time.perf_counter() - begun)


def _candidates(configuration: Configuration, fixed: Collection[str]) -> Iterator[Configuration]:
    """Yield the given configuration and then all others in random order, each once."""
    yield configuration
    rates = [configuration.learning_rate * factor for factor in _LEARNING_RATES]
    space = {"learning_rate": rates, **_SPACES[configuration.recipe]}
    space = {name: values for name, values in space.items() if name not in fixed}
    for changes in ParameterSampler(space, len(ParameterGrid(space)), random_state=configuration.seed):
        try:
            candidate = Configuration.model_validate(configuration.model_dump() | changes)
        except ValidationError:
            continue  # such as a filter that is wider than the texts
        if candidate != configuration:
            yield candidate


def _fields(configuration: Configuration) -> list[str]:
    return ["learning_rate", *_SPACES[configuration.recipe]]


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"
