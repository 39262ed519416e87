"""The start of a training from the weights of an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.model.evaluation import trained
from sentiment_conv1d.model.run import Run
from sentiment_conv1d.model.training.fitting import TrainingError

#: What the weights belong to, apart from the vocabulary and the labels.
_SHAPES = ("recipe", "tokenizer", "embedding_width", "convolutions", "hidden_width")


def check(run: Run, configuration: BaseConfiguration) -> None:
    """Raise `TrainingError` if a network of this configuration cannot start with the weights of the run."""
    old = run.configuration
    for name in _SHAPES:
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
