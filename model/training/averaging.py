"""The training of an ensemble: which epoch is best, and whether the probabilities need a temperature.

Held-out texts decide the number of epochs, the temperature and the threshold. After that, the ensemble is trained again
on all texts, those held out too, because a few hundred texts matter if there are few.

In every epoch, each text loses a random share of its words, so that the members cannot rely on a single word.

Each epoch writes a checkpoint and has its own random generator. An interrupted training therefore continues after the
last complete epoch, with the same result as without the interruption.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import Tokenizer, VocabularyTokenizer, learn
from sentiment_conv1d.model import interruption
from sentiment_conv1d.model.data import Examples, joined
from sentiment_conv1d.model.evaluation.evaluation import label_probabilities, probabilities
from sentiment_conv1d.model.training import initial, network
from sentiment_conv1d.model.training.checkpoint import Stages
from sentiment_conv1d.model.training.fitting import LEAST_GAIN, TrainingError, class_weights
from sentiment_conv1d.model.training.history import History
from sentiment_conv1d.model.training.table_network import Floats, Ids, TableNetwork
from sentiment_conv1d.model.training.task import Task

#: What Adagrad's sums of squared gradients start with.
_INITIAL_SQUARES = 0.02

#: The number of texts for each point of the learning curves.
_TEXTS_PER_POINT = 500


@dataclass(frozen=True)
class Averaged:
    """A trained ensemble.

    `held_out` are the outputs for the held-out texts, [texts, outputs], of the ensemble that had not learned them.
    """

    network: TableNetwork
    tokenizer: VocabularyTokenizer
    history: History
    best_epoch: int
    held_out: Floats | None

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return the outputs for texts: float32 [texts, outputs]."""
        return probabilities(self.network.predict(_encode(self.tokenizer, self.network, texts)))


def average(task: Task, stages: Stages) -> Averaged:
    """Train an ensemble, which starts with the weights of a run if the task names one.

    Without held-out texts, it trains for all epochs. Raises `TrainingError`.
    """
    train, validation, epochs = task.work.train, task.work.validation, task.configuration.epochs
    if validation is None:
        return _Training(task, train, None, stages, "all").run(epochs)
    chosen = _Training(task, train, validation, stages, "part").run(epochs)
    final = _Training(task, joined([train, validation]), None, stages, "all").run(chosen.best_epoch or epochs)
    return Averaged(final.network, final.tokenizer, chosen.history, chosen.best_epoch, chosen.held_out)


class _Training:
    """One training, whose checkpoint is the stage `stage`."""

    def __init__(self, task: Task, examples: Examples, held_out: Examples | None, stages: Stages, stage: str) -> None:
        configuration, start = task.configuration, task.start
        self._configuration = configuration
        self._stages, self._stage, self._progress = stages, stage, task.progress
        self._tokenizer = learn(configuration, examples.texts, () if start is None else start.tokenizer.words)
        self._labels = examples.labels
        self._targets = _targets(examples.labels, configuration.outputs)
        self._weights = dict.fromkeys(range(len(configuration.labels)), 1.0)
        if configuration.class_weights == "balanced":
            self._weights |= class_weights(examples.labels)
        self._network = TableNetwork(
            self._tokenizer.vocabulary_size,
            configuration.max_tokens,
            configuration.convolutions,
            self._generator(),
            outputs=configuration.outputs,
            members=configuration.members,
            initial_squares=_INITIAL_SQUARES,
        )
        if start is not None:
            model = network.of_tables(configuration, self._network.tables, *self._network.dense)
            initial.set_weights(model, start, configuration.labels)
            self._network.set_mean(*network.read_tables(model, configuration))
        self._texts = _encode(self._tokenizer, self._network, examples.texts)
        self._held_out = None
        if held_out is not None:
            self._held_out = _encode(self._tokenizer, self._network, held_out.texts), held_out.labels
        self._history = History(_measured, _TEXTS_PER_POINT)
        self._best_epoch, self._best_loss = 0, math.inf
        self._best: dict[str, Floats] = {}

    def run(self, epochs: int) -> Averaged:
        """Train for a number of epochs, or until the held-out loss no longer falls, and set the best weights."""
        self._restore()
        patience = self._configuration.patience if self._held_out is not None else 0
        while (done := len(self._history.epochs)) < epochs and not 0 < patience <= done - self._best_epoch:
            self._epoch(done, epochs)
            self._keep()
        if self._best:
            self._network.set_weights(self._best)
        held_out = None if self._held_out is None else probabilities(self._network.predict(self._held_out[0]))
        return Averaged(self._network, self._tokenizer, self._history, self._best_epoch, held_out)

    def _epoch(self, epoch: int, epochs: int) -> None:
        started = time.perf_counter()
        generator = self._generator(epoch)
        order = generator.permutation(len(self._texts))
        logits = np.empty((len(order), self._configuration.outputs), np.float32)
        what = f"epoch {epoch + 1} of {'at most ' if self._held_out is not None else ''}{epochs}"
        for step, index in enumerate(tqdm(order, what, disable=not self._progress)):
            interruption.check()
            logits[step] = self._network.learn(
                self._without_words(self._texts[index], generator),
                self._targets[index],
                learning_rate=self._configuration.learning_rate,
                dropout=self._configuration.hidden_dropout,
                generator=generator,
                weight=self._weights[int(self._labels[index])],
                left=1 - self._configuration.word_dropout,
            )
        row = self._history.row(probabilities(logits), self._labels[order])
        if not math.isfinite(row["loss"]):
            self._stages.remove()
            raise TrainingError(f"the loss is not finite in epoch {epoch + 1}: try a smaller --learning-rate")
        if self._held_out is not None:
            texts, labels = self._held_out
            row |= self._history.held_out(probabilities(self._network.predict(texts)), labels)
            if self._configuration.patience and row["validation_loss"] < self._best_loss - LEAST_GAIN:
                self._best_epoch, self._best_loss = epoch + 1, row["validation_loss"]
                self._best = {name: array.copy() for name, array in self._network.weights_by_name().items()}
        self._history.epochs.append({**row, "seconds": time.perf_counter() - started})

    def _without_words(self, ids: Ids, generator: np.random.Generator) -> Ids:
        """Return a text without some of its words. The padding and the first id, that of the start, stay."""
        kept = generator.random(len(ids), np.float32) >= self._configuration.word_dropout
        kept[: self._network.width + 1] = True
        return ids[kept]

    def _generator(self, *epoch: int) -> np.random.Generator:
        return np.random.default_rng((self._configuration.seed, *epoch))

    def _keep(self) -> None:
        state: dict[str, npt.NDArray[Any]] = {
            "history": self._history.state(),
            "best_epoch": np.array(self._best_epoch),
            "best_loss": np.array(self._best_loss),
            **self._network.state(),
            **{f"best_{name}": array for name, array in self._best.items()},
        }
        self._stages.keep(self._stage, state)

    def _restore(self) -> None:
        state = self._stages.read(self._stage)
        if state is None:
            return
        self._history.restore(state["history"])
        self._best_epoch, self._best_loss = int(state["best_epoch"]), float(state["best_loss"])
        self._network.restore(state)
        if self._best_epoch:
            self._best = {name: state[f"best_{name}"] for name in self._network.weights_by_name()}


def _encode(tokenizer: Tokenizer, net: TableNetwork, texts: Sequence[str]) -> list[Ids]:
    """Return the ids of each text, with the padding that the network needs in front of short texts."""
    shape = InputShape.of(tokenizer, net.width)
    return [shape.pad([encoding.ids])[0] for encoding in tokenizer.encode_batch(texts)]


def _targets(labels: npt.NDArray[np.int64], outputs: int) -> Floats:
    """Return the probabilities to learn: float32 [texts, outputs]."""
    if outputs == 1:
        return labels[:, np.newaxis].astype(np.float32)
    return np.eye(outputs, dtype=np.float32)[labels]


def _measured(outputs: Floats, labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return the log loss and the accuracy of outputs [texts, outputs]."""
    probabilities = label_probabilities(outputs)
    of_truth = np.clip(probabilities[np.arange(len(labels)), labels], np.finfo(np.float32).tiny, 1)
    right = probabilities.argmax(axis=1) == labels
    return {"loss": float(-np.log(of_truth).mean()), "accuracy": float(right.mean())}
