"""The epochs of a training: progress, early stopping and checkpoints."""

from __future__ import annotations

import math
import time

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sentiment_conv1d.model import interruption
from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.errors import SentimentError
from sentiment_conv1d.model.training.checkpoint import Checkpoints, Progress, Weights

#: The number of training batches for each point of the learning curves.
BATCHES_PER_POINT = 50

#: How much the held-out loss must fall for an epoch to count as better. If all texts are easy, it never stops falling.
LEAST_GAIN = 0.001

#: Encoded texts int32 [n, max_tokens] and their labels int64 [n].
Encoded = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]


class TrainingError(SentimentError):
    """A training cannot start, or its loss is no longer finite."""


def fit(
    model: keras.Model,
    configuration: Configuration,
    train: Encoded,
    validation: Encoded | None,
    checkpoints: Checkpoints,
    progress: Progress,
    best: Weights | None,
    *,
    show_progress: bool,
) -> Progress:
    """Train until the last epoch, or until the held-out loss no longer falls, and set the best weights.

    `progress` and `best` come from a checkpoint. Returns the progress. Raises `TrainingError`.
    """
    epochs = _Epochs(configuration, len(train[1]), checkpoints, progress, best, show_progress)
    with epochs.bar:
        if not progress.is_over(configuration):
            # Otherwise Keras traces the first step twice, once to create the optimizer's variables.
            model.optimizer.build(model.trainable_variables)
            model.fit(
                *train,
                batch_size=configuration.batch_size,
                epochs=configuration.epochs,
                initial_epoch=progress.epoch,
                validation_data=validation,
                class_weight=class_weights(train[1]) if configuration.class_weights == "balanced" else None,
                shuffle=True,
                verbose=0,
                callbacks=[epochs],
            )
    if epochs.best is not None:
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
        configuration: Configuration,
        examples: int,
        checkpoints: Checkpoints,
        progress: Progress,
        best: Weights | None,
        show_progress: bool,
    ) -> None:
        super().__init__()
        self.best = best  # weights; None if they are those of the last epoch
        self._configuration = configuration
        self._checkpoints = checkpoints
        self._progress = progress
        self._examples = examples
        self._batches = -(-examples // configuration.batch_size)  # in an epoch
        self._step = progress.epoch * self._batches
        total = configuration.epochs * self._batches
        self.bar = tqdm(desc="training", unit="batch", total=total, initial=self._step, disable=not show_progress)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self.best is None:  # the last epoch of a checkpoint is the best one so far
            self._weights = self.model.get_weights()

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
        progress = self._progress
        progress.steps += self._points
        progress.epochs.append({"epoch": epoch + 1, **row, "seconds": time.perf_counter() - self._started})
        if self._configuration.patience:
            self._keep_best(row["validation_loss"])
        self.model.stop_training = progress.is_over(self._configuration)
        try:
            self._checkpoints.save(self.model, progress, self.best)
        except OSError as error:
            # Losing a checkpoint is better than losing the training.
            reason = error.strerror or error
            self.bar.write(f"warning: {self._checkpoints.folder}: no checkpoint after epoch {epoch + 1} ({reason})")

    def _keep_best(self, loss: float) -> None:
        progress = self._progress
        if loss < progress.best_loss - LEAST_GAIN:
            progress.best_loss, progress.best_epoch = loss, progress.epoch
            self._weights = self.model.get_weights()
            self.best = None
        elif self.best is None:
            self.best = self._weights
