"""The start of a training from the weights of an earlier run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.evaluation import trained
from sentiment_conv1d.model.run import Run
from sentiment_conv1d.model.training.ensemble.members import Ensemble
from sentiment_conv1d.model.training.fitting import TrainingError

#: What the weights belong to, apart from the vocabulary and the labels.
SHAPES = ("recipe", "tokenizer", "embedding_width", "convolutions", "hidden_width")

#: The recipes whose trainings can start from a run and be continued.
_RECIPES = ("labels", "ensemble")


def check(run: Run, configuration: Configuration) -> None:
    """Raise `TrainingError` if a network of this configuration cannot start with the weights of the run."""
    old = run.configuration
    for recipe in (old.recipe, configuration.recipe):
        if recipe not in _RECIPES:
            raise TrainingError(
                f"a training with the recipe {recipe} cannot start from a run or be continued: train {run.path} with "
                "--preset text-ensemble"
            )
    for name in SHAPES:
        if getattr(old, name) != getattr(configuration, name):
            raise TrainingError(f"--{name.replace('_', '-')}: a training from {run.path} cannot change it")
    if configuration.vocabulary_size < run.tokenizer.vocabulary_size:
        raise TrainingError(
            f"--vocabulary-size {configuration.vocabulary_size}: {run.path} already has {run.tokenizer.vocabulary_size}"
        )
    if missing := sorted(set(old.labels) - set(configuration.labels)):
        raise TrainingError(
            f"the training texts have no text with the label {', '.join(missing)} of {run.path}: a model keeps its "
            "labels, so add such texts"
        )


def digest(run: Run) -> str:
    """Return what identifies the weights of a run."""
    return hashlib.sha256(run.keras_file.read_bytes()).hexdigest()


def set_weights(model: keras.Model, run: Run, labels: tuple[str, ...]) -> None:
    """Set the weights of a new network, whose labels are `labels`, to those of the run.

    New words start with the vector of unknown words, so the network answers as the run does until it is trained. The
    units of new labels keep their random weights.
    """
    old = trained.load(run)
    for layer in model.layers:
        weights = old.get_layer(layer.name).get_weights()
        if layer.name == "embedding":
            weights = [_grown(weights[0], layer.input_dim, run.tokenizer.unknown_id)]
        elif layer.name == "probabilities" and labels != run.configuration.labels:
            weights = _with_labels(weights, run.configuration.labels, layer.get_weights(), labels)
        if weights:
            layer.set_weights(weights)


@dataclass(frozen=True)
class EarlierEnsemble:
    """What the ensemble of an earlier run leaves to a new one, whose labels are `labels`."""

    words: tuple[str, ...]  # of its vocabulary, in the order of their ids
    unknown_id: int | None
    old_labels: tuple[str, ...]
    labels: tuple[str, ...]
    tables: tuple[npt.NDArray[np.float32], ...]  # of each bank, [width, vocabulary, filters]
    dense: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  # kernel and bias

    def set_weights(self, ensemble: Ensemble) -> None:
        """Set the weights of a new ensemble as `set_weights` sets those of a Keras network."""
        rows = ensemble.tables[0].shape[1]
        tables = [np.stack([_grown(taps, rows, self.unknown_id) for taps in table]) for table in self.tables]
        kernel, bias = self.dense
        if self.labels != self.old_labels:
            kernel, bias = _with_labels((kernel, bias), self.old_labels, ensemble.dense, self.labels)
        ensemble.set_mean(tables, kernel, bias)


def read_ensemble(run: Run, labels: tuple[str, ...]) -> EarlierEnsemble:
    """Read the weights of a run with the recipe `ensemble`, which `network.of_tables` has put into a Keras model."""
    model = trained.load(run)
    rows = model.get_layer("embedding").get_weights()[0]
    tables, first = [], 0
    for bank in run.configuration.convolutions:
        last = first + bank.width * bank.filters
        taps = rows[:, first:last].reshape(len(rows), bank.width, bank.filters)
        tables.append(taps.transpose(1, 0, 2))
        first = last
    kernel, bias = model.get_layer("probabilities").get_weights()
    tokenizer = run.tokenizer
    return EarlierEnsemble(
        tokenizer.words, tokenizer.unknown_id, run.configuration.labels, labels, tuple(tables), (kernel, bias)
    )


def _grown(embedding: npt.NDArray[Any], rows: int, unknown: int | None) -> npt.NDArray[Any]:
    assert unknown is not None  # in every tokenizer that a run can have
    return np.vstack([embedding, np.tile(embedding[unknown], (rows - len(embedding), 1))])


def _with_labels(
    weights: Sequence[npt.NDArray[Any]],
    old: tuple[str, ...],
    fresh: Sequence[npt.NDArray[Any]],
    new: tuple[str, ...],
) -> list[npt.NDArray[Any]]:
    """Return `fresh` with the kernel [features, units] and bias [units] of the old labels."""
    places = [new.index(label) for label in old]
    grown = []
    for of_old, of_new in zip(weights, fresh, strict=True):
        # A softmax of the logits -z/2 and z/2 is the sigmoid of z.
        units = np.concatenate([-of_old / 2, of_old / 2], axis=-1) if of_old.shape[-1] == 1 else of_old
        of_new[..., places] = units
        grown.append(of_new)
    return grown
