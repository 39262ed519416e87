"""The training of an ensemble: which epoch is best, and whether the probabilities need a temperature.

The networks of an ensemble are trained together. A linear model of word counts is solved before, and is part of every
answer, so it also has a part in the choice of the epoch.

Held-out texts decide the number of epochs, the temperature, the threshold and the limits of confidence. After that, the
ensemble is trained again on all texts, those held out too, because a few hundred texts matter if there are few.

If there are few texts (`model.data.use`), a tenth of them is too small to decide anything. Each third of them is then
held out from an ensemble of its own. These ensembles learn every epoch together, and their answers to all texts decide.

A training that continues an artifact keeps its network, unless the gain is more than chance.

In every epoch, each text loses a random share of its words, so that the members cannot rely on a single word.

Only the words of the texts can change, so only they have rows in the tables while an ensemble learns.

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

from sentiment_conv1d.artifact.configuration import RESERVED_IDS, BaseConfiguration
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import Tokenizer, VocabularyTokenizer, learn
from sentiment_conv1d.commands import interruption
from sentiment_conv1d.model.data import Examples, Use, parts
from sentiment_conv1d.model.evaluation.evaluation import label_probabilities, probabilities
from sentiment_conv1d.model.training.checkpoint import Stages
from sentiment_conv1d.model.training.fitting import LEAST_GAIN, TrainingError, class_weights
from sentiment_conv1d.model.training.history import History
from sentiment_conv1d.model.training.initial import InitialTables
from sentiment_conv1d.model.training.kept import Kept
from sentiment_conv1d.model.training.linear import Ensemble, Linear, mean, solve
from sentiment_conv1d.model.training.pretrained import Pretrained
from sentiment_conv1d.model.training.table_network import Floats, Ids, TableNetwork
from sentiment_conv1d.model.training.task import Task

#: The number of parts of few texts, which are held out in turn.
_PARTS = 3

#: What Adagrad's sums of squared gradients start with.
_INITIAL_SQUARES = 0.02

#: The number of texts for each point of the learning curves.
_TEXTS_PER_POINT = 500


@dataclass(frozen=True)
class Averaged:
    """A trained ensemble, or the network of the artifact that the training started with.

    `held_out` are the outputs for the texts that decided, [texts, outputs], of ensembles that had not learned them, and
    `loss` is their log loss. They are None and infinite if no text was held out.
    """

    network: Ensemble | Kept
    tokenizer: VocabularyTokenizer
    history: History
    best_epoch: int
    held_out: Floats | None
    loss: float

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return the outputs for texts: float32 [texts, outputs]."""
        if isinstance(self.network, Kept):
            return self.network.predict(texts)
        return probabilities(self.network.predict(_encode(self.tokenizer, self.network.network.width, texts)))


def average(task: Task, stages: Stages, use: Use, name: str = "") -> Averaged:
    """Train an ensemble, which starts with the weights of a run or of an artifact if the task names one.

    Without held-out texts, it trains for all epochs. `name` is part of the names of its stages. Raises `TrainingError`.
    """
    every, judged, epochs = use.given, use.decided, task.configuration.epochs
    start = None if task.start is None else InitialTables.of(task.start)
    if judged is None:
        final = _Training(task, [_Learner(task, start, every)], None, stages, f"{name}all")
        final.run(epochs)
        return Averaged(*final.result(), final.history, 0, None, math.inf)
    if not use.in_turn:
        learners, places = [_Learner(task, start, task.work.train, judged)], [np.arange(len(judged))]
    else:
        part = parts(every, _PARTS, task.configuration.seed)
        places = [np.flatnonzero(part == number) for number in np.unique(part)]
        learners = [
            _Learner(task, start, every.take(np.setdiff1d(np.arange(len(every)), place)), every.take(place))
            for place in places
        ]
    kept = None
    if isinstance(task.start, Pretrained) and task.configuration.patience:
        kept = Kept.of(task.start, task.configuration.labels)
    before = None if kept is None else kept.predict(judged.texts)
    chosen = _Training(task, learners, _Judged(judged.labels, places, before), stages, f"{name}part")
    chosen.run(epochs)
    if kept is not None and chosen.best_epoch == 0:
        return Averaged(kept, kept.start.tokenizer, chosen.history, 0, chosen.held_out, chosen.loss)
    final = _Training(task, [_Learner(task, start, every)], None, stages, f"{name}all")
    final.run(chosen.best_epoch if task.configuration.patience else epochs)
    return Averaged(*final.result(), chosen.history, chosen.best_epoch, chosen.held_out, chosen.loss)


@dataclass(frozen=True)
class _Judged:
    """The labels of the texts that decide, and which of them each learner has not learned.

    `before` are the outputs for them of the artifact that the training may keep, if there is one.
    """

    labels: npt.NDArray[np.int64]
    places: Sequence[npt.NDArray[np.intp]]
    before: Floats | None = None


class _Learner:
    """An ensemble with the texts that it learns, and those that it does not learn."""

    def __init__(
        self, task: Task, start: InitialTables | None, examples: Examples, held_out: Examples | None = None
    ) -> None:
        self._configuration, self._start = task.configuration, start
        self.tokenizer = learn(
            self._configuration, examples.texts, () if task.start is None else task.start.tokenizer.words
        )
        self._labels = examples.labels
        self._targets = _targets(examples.labels, self._configuration.outputs)
        self._weights = dict.fromkeys(range(len(self._configuration.labels)), 1.0)
        if self._configuration.class_weights == "balanced":
            self._weights |= class_weights(examples.labels)
        width = max(bank.width for bank in self._configuration.convolutions)
        texts = _encode(self.tokenizer, width, examples.texts)
        others = [] if held_out is None else _encode(self.tokenizer, width, held_out.texts)
        #: The words of the rows of the tables.
        self._ids = np.unique(np.concatenate([np.arange(RESERVED_IDS, dtype=np.int32), *texts, *others]))
        self._texts, self._held_out = (
            [np.searchsorted(self._ids, ids).astype(np.int32) for ids in each] for each in (texts, others)
        )
        self.network = self._made(len(self._ids))
        size = self.tokenizer.vocabulary_size
        #: With the rows of all words.
        self._linear = self._solved(texts) if start is None else start.linear_of(self._configuration, size)
        self._linear_logits = self._linear.predict(others) if self._linear is not None and others else None
        if start is not None:
            start.copy_to(self.network, self._configuration, self._ids)

    def __len__(self) -> int:
        return len(self._texts)

    def learn(self, generator: np.random.Generator, progress: tqdm[Any]) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Learn every text once. Return the outputs before each step, and the labels, in the order of learning."""
        order = generator.permutation(len(self._texts))
        logits = np.empty((len(order), self._configuration.outputs), np.float32)
        for step, index in enumerate(order):
            interruption.check()
            logits[step] = self.network.learn(
                self._without_words(self._texts[index], generator),
                self._targets[index],
                learning_rate=self._configuration.learning_rate,
                dropout=self._configuration.hidden_dropout,
                generator=generator,
                weight=self._weights[int(self._labels[index])],
            )
            progress.update()
        return probabilities(logits), self._labels[order]

    def answers(self) -> Floats:
        """Return the outputs for the texts that it does not learn: float32 [texts, outputs]."""
        return probabilities(mean(self.network.predict(self._held_out), self._linear_logits))

    def whole(self) -> Ensemble:
        """Return the ensemble with the rows of all words. Its own filters are 0 for words that it has not learned."""
        if len(self._ids) == self.tokenizer.vocabulary_size:
            return Ensemble(self.network, self._linear)
        whole = self._made(self.tokenizer.vocabulary_size)
        for table in whole.tables:
            table[...] = 0
        if self._start is not None:
            self._start.copy_to(whole, self._configuration, np.arange(self.tokenizer.vocabulary_size, dtype=np.int32))
        for table, own in zip(whole.tables, self.network.tables, strict=True):
            table[:, self._ids] = own
        whole.set_mean(whole.tables, *self.network.dense)
        return Ensemble(whole, self._linear)

    def _solved(self, texts: Sequence[Ids]) -> Linear:
        weights = np.array([self._weights[int(label)] for label in self._labels], np.float32)
        return solve(texts, self._labels, weights, self.tokenizer.vocabulary_size, self._configuration.outputs)

    def _made(self, rows: int) -> TableNetwork:
        return TableNetwork(
            rows,
            self._configuration.max_tokens,
            self._configuration.convolutions,
            _generator(self._configuration),
            outputs=self._configuration.outputs,
            members=self._configuration.members,
            initial_squares=_INITIAL_SQUARES,
        )

    def _without_words(self, ids: Ids, generator: np.random.Generator) -> Ids:
        """Return a text without some of its words. The padding and the first id, that of the start, stay."""
        kept = generator.random(len(ids), np.float32) >= self._configuration.word_dropout
        kept[: self.network.width + 1] = True
        return ids[kept]


class _Training:
    """The epochs of one or several learners, whose checkpoint is the stage `stage`.

    `best_epoch` is the one with the lowest loss of the judged texts. `held_out` are the outputs for them after this
    epoch, or after the last one if the training does not stop early, and `loss` is their log loss.
    """

    def __init__(
        self, task: Task, learners: Sequence[_Learner], judged: _Judged | None, stages: Stages, stage: str
    ) -> None:
        self._configuration, self._progress = task.configuration, task.progress
        self._learners, self._judged = learners, judged
        self._stages, self._stage = stages, stage
        self.history = History(_measured, _TEXTS_PER_POINT)
        self.best_epoch, self.loss = 0, math.inf
        self.held_out: Floats | None = None
        if judged is not None and judged.before is not None:
            self._record(0, judged.before)  # the artifact may be better than what it learns
        self._artifact = (self.loss, self.held_out)

    def run(self, epochs: int) -> None:
        """Train for a number of epochs, or until the loss of the judged texts no longer falls."""
        self._restore()
        patience = self._configuration.patience if self._judged is not None else 0
        while (done := len(self.history.epochs)) < epochs and not 0 < patience <= done - self.best_epoch:
            self._epoch(done, epochs)
            self._keep()
        before = self._artifact[1]
        if patience and before is not None:
            assert self._judged is not None and self.held_out is not None
            if not is_gain(before, self.held_out, self._judged.labels):
                self.best_epoch, (self.loss, self.held_out) = 0, self._artifact

    def result(self) -> tuple[Ensemble, VocabularyTokenizer]:
        """Return the ensemble of the only learner, and its tokenizer."""
        (learner,) = self._learners
        return learner.whole(), learner.tokenizer

    def _epoch(self, epoch: int, epochs: int) -> None:
        started = time.perf_counter()
        what = f"epoch {epoch + 1} of {'' if self._judged is None else 'at most '}{epochs}"
        with tqdm(total=sum(map(len, self._learners)), desc=what, disable=None if self._progress else True) as progress:
            learned = [each.learn(_generator(self._configuration, epoch), progress) for each in self._learners]
        outputs, labels = (np.concatenate(each) for each in zip(*learned, strict=True))
        row = self.history.row(outputs, labels)
        if not math.isfinite(row["loss"]):
            self._stages.remove()
            raise TrainingError(f"the loss is not finite in epoch {epoch + 1}: try a smaller --learning-rate")
        if self._judged is not None:
            row |= self._judge(epoch + 1)
        self.history.epochs.append({**row, "seconds": time.perf_counter() - started})

    def _judge(self, epoch: int) -> dict[str, float]:
        """Record the answers of each learner to the texts that it does not learn."""
        assert self._judged is not None
        outputs = np.empty((len(self._judged.labels), self._configuration.outputs), np.float32)
        for learner, place in zip(self._learners, self._judged.places, strict=True):
            outputs[place] = learner.answers()
        return self._record(epoch, outputs)

    def _record(self, epoch: int, outputs: Floats) -> dict[str, float]:
        """Measure outputs for the judged texts, and keep them if they are the best."""
        assert self._judged is not None
        row = self.history.held_out(outputs, self._judged.labels)
        if not self._configuration.patience:
            self.loss, self.held_out = row["validation_loss"], outputs
        elif row["validation_loss"] < self.loss - LEAST_GAIN:
            self.best_epoch, self.loss, self.held_out = epoch, row["validation_loss"], outputs
        return row

    def _keep(self) -> None:
        state: dict[str, npt.NDArray[Any]] = {
            "history": self.history.state(),
            "best_epoch": np.array(self.best_epoch),
            "loss": np.array(self.loss),
        }
        if self.held_out is not None:
            state["held_out"] = self.held_out
        for number, learner in enumerate(self._learners):
            state |= {f"{number}_{name}": array for name, array in learner.network.state().items()}
        self._stages.keep(self._stage, state)

    def _restore(self) -> None:
        state = self._stages.read(self._stage)
        if state is None:
            return
        self.history.restore(state["history"])
        self.best_epoch, self.loss, self.held_out = (
            int(state["best_epoch"]),
            float(state["loss"]),
            state.get("held_out"),
        )
        for number, learner in enumerate(self._learners):
            learner.network.restore({name: state[f"{number}_{name}"] for name in learner.network.state()})


def is_gain(before: Floats, after: Floats, labels: npt.NDArray[np.int64]) -> bool:
    """Return whether the log loss of outputs [texts, outputs] fell by more than the standard error of the difference.

    See the one standard error rule of Breiman et al., *Classification and Regression Trees*, 1984, section 3.4.3.
    """
    gains = _losses(before, labels) - _losses(after, labels)
    return bool(gains.mean() > gains.std() / math.sqrt(len(gains)))


def _generator(configuration: BaseConfiguration, *epoch: int) -> np.random.Generator:
    return np.random.default_rng((configuration.seed, *epoch))


def _encode(tokenizer: Tokenizer, width: int, texts: Sequence[str]) -> list[Ids]:
    """Return the ids of each text, with the padding that windows of `width` words need in front of short texts."""
    shape = InputShape.of(tokenizer, width)
    return [shape.pad([encoding.ids])[0] for encoding in tokenizer.encode_batch(texts)]


def _targets(labels: npt.NDArray[np.int64], outputs: int) -> Floats:
    """Return the probabilities to learn: float32 [texts, outputs]."""
    if outputs == 1:
        return labels[:, np.newaxis].astype(np.float32)
    return np.eye(outputs, dtype=np.float32)[labels]


def _measured(outputs: Floats, labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return the log loss and the accuracy of outputs [texts, outputs]."""
    right = label_probabilities(outputs).argmax(axis=1) == labels
    return {"loss": float(_losses(outputs, labels).mean()), "accuracy": float(right.mean())}


def _losses(outputs: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    """Return the log loss of each text, for outputs [texts, outputs]."""
    of_truth = label_probabilities(outputs)[np.arange(len(labels)), labels]
    losses: Floats = -np.log(np.clip(of_truth, np.finfo(np.float32).tiny, 1))
    return losses
