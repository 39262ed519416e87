"""The epochs of a training: progress, early stopping and checkpoints."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.commands import interruption
from sentiment_conv1d.model.training.checkpoint import Stages

#: The number of training batches for each point of the learning curves.
BATCHES_PER_POINT = 50

#: How much the held-out loss must fall for an epoch to count as better. If all texts are easy, it never stops falling.
LEAST_GAIN = 0.001

#: Encoded texts int32 [n, max_tokens] and their labels int64 [n].
Encoded = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]


#: The stage whose arrays are the checkpoint of the last epoch.
_STAGE = "network"


class TrainingError(SentimentError):
    """A training cannot start, or its loss is no longer finite."""


@dataclass
class Progress:
    """The progress of a training."""

    epochs: list[dict[str, float]] = field(default_factory=list)  # of the history
    steps: list[dict[str, float]] = field(default_factory=list)  # of the history, one for several batches
    best_epoch: int = 0  # with the lowest held-out loss; 0 without held-out texts
    best_loss: float = float("inf")

    @property
    def history(self) -> dict[str, Any]:
        """The history, for `history.json` and the learning curves."""
        return {"steps": self.steps, "epochs": self.epochs}

    def is_over(self, configuration: BaseConfiguration) -> bool:
        """Return whether all epochs are complete, or the held-out loss no longer falls."""
        epoch = len(self.epochs)
        waited = epoch - self.best_epoch
        return epoch >= configuration.epochs or (0 < configuration.patience <= waited and self.best_epoch > 0)


def fit(
    model: keras.Model,
    configuration: BaseConfiguration,
    train: Encoded,
    validation: Encoded | None,
    stages: Stages,
    *,
    show_progress: bool,
) -> Progress:
    """Train until the last epoch, or until the held-out loss no longer falls, and set the best weights.

    Continues after the last checkpoint, if there is one. Returns the progress. Raises `TrainingError`.
    """
    # Otherwise Keras traces the first step twice, once to create the optimizer's variables.
    model.optimizer.build(model.trainable_variables)
    epochs = _Epochs(model, configuration, len(train[1]), stages, show_progress)
    progress = epochs.progress
    with epochs.bar:
        if not progress.is_over(configuration):
            model.fit(
                *train,
                batch_size=configuration.batch_size,
                epochs=configuration.epochs,
                initial_epoch=len(progress.epochs),
                validation_data=validation,
                class_weight=class_weights(train[1]) if configuration.class_weights == "balanced" else None,
                shuffle=True,
                verbose=0,
                callbacks=[epochs],
            )
    if epochs.best:
        model.set_weights(epochs.best)
    return progress


def class_weights(labels: npt.NDArray[np.int64]) -> dict[int, float]:
    """Return the weight of a text of each label in the loss: all labels count the same, and texts 1 on average."""
    counts = np.bincount(labels)
    return {label: len(labels) / (len(counts) * count) for label, count in enumerate(counts.tolist()) if count}


class _Epochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Show the progress, record the history and the best weights, write checkpoints and stop early.

    Keras reports means since the start of the epoch. A point of the history is the mean between two such reports.
    """

    def __init__(
        self,
        model: keras.Model,
        configuration: BaseConfiguration,
        examples: int,
        stages: Stages,
        show_progress: bool,
    ) -> None:
        super().__init__()
        self.progress = Progress()
        self.best: list[npt.NDArray[Any]] = []  # the weights of the best epoch
        self._configuration = configuration
        self._stages = stages
        self._variables = [*model.weights, *model.optimizer.variables]
        self._restore()
        self._examples = examples
        self._batches = -(-examples // configuration.batch_size)  # in an epoch
        self._step = len(self.progress.epochs) * self._batches
        total = configuration.epochs * self._batches
        self.bar = tqdm(
            desc="training", unit="batch", total=total, initial=self._step, disable=None if show_progress else True
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._started = time.perf_counter()
        self._last_point = np.zeros(3)
        self._points: list[dict[str, float]] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None
        interruption.check()
        if not math.isfinite(logs["loss"]):
            raise TrainingError(f"the loss is not finite in step {self._step + 1}: try a smaller --learning-rate")
        self._step += 1
        self.bar.update()
        self.bar.set_postfix(loss=f"{logs['loss']:.4f}", accuracy=f"{logs['accuracy']:.4f}", refresh=False)
        if (batch + 1) % BATCHES_PER_POINT == 0 or batch + 1 == self._batches:
            seen = min((batch + 1) * self._configuration.batch_size, self._examples)  # the last batch can be smaller
            point = seen * np.array([1, logs["loss"], logs["accuracy"]])
            count, loss, accuracy = (point - self._last_point).tolist()
            self._points.append({"step": self._step, "loss": loss / count, "accuracy": accuracy / count})
            self._last_point = point

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None
        names = {"val_loss": "validation_loss", "val_accuracy": "validation_accuracy"}
        row = {names.get(name, name): float(value) for name, value in logs.items()}
        progress = self.progress
        progress.steps += self._points
        progress.epochs.append({"epoch": epoch + 1, **row, "seconds": time.perf_counter() - self._started})
        if self._configuration.patience and row["validation_loss"] < progress.best_loss - LEAST_GAIN:
            progress.best_loss, progress.best_epoch = row["validation_loss"], epoch + 1
            self.best = self.model.get_weights()
        self.model.stop_training = progress.is_over(self._configuration)
        state = {
            "progress": np.frombuffer(json.dumps(asdict(progress)).encode(), np.uint8),
            **{f"variable_{number}": variable.numpy() for number, variable in enumerate(self._variables)},
            **{f"best_{number}": weights for number, weights in enumerate(self.best)},
        }
        self._stages.keep(_STAGE, state)

    def _restore(self) -> None:
        """Continue after the last checkpoint, in another order of the texts than that of the first epochs."""
        state = self._stages.read(_STAGE)
        if state is None:
            return
        self.progress = Progress(**json.loads(state["progress"].tobytes()))
        for number, variable in enumerate(self._variables):
            variable.assign(state[f"variable_{number}"])
        self.best = [array for name, array in state.items() if name.startswith("best_")]
        keras.utils.set_random_seed(self._configuration.seed + len(self.progress.epochs))
