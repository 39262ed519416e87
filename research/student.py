"""The student of a distillation: a convolution that learns the probabilities of labels, and what its training leaves.

The student writes a checkpoint after every epoch, and each epoch has a separate random generator. An interrupted
training therefore continues from the last checkpoint, with the same result as without the interruption.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from tqdm import tqdm

from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer
from sentiment_conv1d.model.data import Examples, use_of
from sentiment_conv1d.model.evaluation.evaluation import label_probabilities, probabilities
from sentiment_conv1d.model.training.checkpoint import Stages
from sentiment_conv1d.model.training.decision_rule import choose_rule
from sentiment_conv1d.model.training.history import History
from sentiment_conv1d.model.training.network import of_tables
from sentiment_conv1d.model.training.recipes import Trained, evaluated
from sentiment_conv1d.model.training.table_network import TableNetwork
from sentiment_conv1d.model.training.task import Task

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

#: The number that seeds the generators of the student. The teachers have smaller ones.
_STUDENT = 3

#: The number of texts per point of the learning curves.
_TEXTS_PER_POINT = 2_000


class Lesson(NamedTuple):
    """What the student learns at a time."""

    ids: Ids
    target: Floats  # the probabilities of the outputs


class Lessons(Protocol):
    """What the student learns in an epoch."""

    @property
    def last_rate(self) -> float:
        """The share of the learning rate to which it falls linearly in the last epoch."""

    def order(self, generator: np.random.Generator, *, is_last: bool) -> npt.NDArray[np.int64]:
        """Return what an epoch has, as numbers for `lesson`. `is_last` says whether it is the last one."""

    def lesson(self, place: int, generator: np.random.Generator) -> Lesson:
        """Return a text, or a part of one, and what is learned of it."""


class HeldOut(NamedTuple):
    """Texts that the student does not learn."""

    ids: Sequence[Ids]
    targets: Floats  # [texts, outputs]


@dataclass(frozen=True)
class Student:
    """A network with its tokenizer, and how it learned."""

    network: TableNetwork
    tokenizer: VocabularyTokenizer
    history: History

    def logits(self, rows: Sequence[Ids]) -> Floats:
        """Return the logits for ids of texts: float32 [texts, outputs]."""
        shape = InputShape.of(self.tokenizer, self.network.width)
        return self.network.predict([shape.pad([ids])[0] for ids in rows])

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return the outputs for texts: float32 [texts, outputs]."""
        return probabilities(self.logits([encoding.ids for encoding in self.tokenizer.encode_batch(texts)]))


def train(task: Task, stages: Stages, tokenizer: VocabularyTokenizer, lessons: Lessons, held_out: HeldOut) -> Student:
    """Train a student, or continue after the last epoch in its stage."""
    configuration = task.configuration
    network = TableNetwork(
        tokenizer.vocabulary_size,
        configuration.max_tokens,
        configuration.convolutions,
        np.random.default_rng((configuration.seed, _STUDENT)),
        outputs=configuration.outputs,
    )
    student = Student(network, tokenizer, History(_measured, _TEXTS_PER_POINT))
    history, shape = student.history, InputShape.of(tokenizer, network.width)
    found = stages.read("student")
    if found is not None:
        network.restore(found)
        history.restore(found["history"])
    for epoch in range(len(history.epochs), configuration.epochs):
        started = time.perf_counter()
        generator = np.random.default_rng((configuration.seed, _STUDENT, epoch))
        is_last = epoch == configuration.epochs - 1
        order = lessons.order(generator, is_last=is_last)
        rates = configuration.learning_rate * np.linspace(1, lessons.last_rate if is_last else 1, len(order))
        # The logits before the student learns a target, and the targets.
        logits, learned = np.empty((2, len(order), configuration.outputs), np.float32)
        progress = tqdm(
            order,
            f"epoch {epoch + 1} of {configuration.epochs}",
            disable=None if task.progress else True,
            mininterval=5,
        )
        for step, place in enumerate(progress):
            ids, learned[step] = lessons.lesson(int(place), generator)
            logits[step] = network.learn(
                shape.pad([ids])[0],
                learned[step],
                learning_rate=float(rates[step]),
                dropout=configuration.hidden_dropout,
                generator=generator,
            )
        row = history.row(logits, learned) | history.held_out(student.logits(held_out.ids), held_out.targets)
        history.epochs.append({**row, "seconds": time.perf_counter() - started})
        stages.keep("student", {**network.state(), "history": history.state()})
    return student


def outcome(
    task: Task,
    stages: Stages,
    student: Student,
    *,
    baseline_texts: Examples | None = None,
    weights: Floats | None = None,
) -> Trained:
    """Return what a training leaves behind.

    `baseline_texts` are those that the baseline learns, by default all texts of the training, and `weights` say how
    much each held-out text counts for the limits of confidence.
    """
    configuration, work = task.configuration, task.work
    assert work.validation is not None
    use = use_of(configuration, work)
    decision = choose_rule(configuration, use, student.predict(work.validation.texts), weights)
    return Trained(
        configuration=configuration,
        model=of_tables(configuration, student.network.tables, *student.network.dense),
        tokenizer=student.tokenizer,
        use=use,
        decision=decision,
        evaluation=evaluated(work, student.predict, decision),
        history=student.history.document,
        stages=stages,
        baseline_texts=baseline_texts,
    )


def _measured(logits: Floats, targets: Floats) -> dict[str, float]:
    """Return the cross-entropy, and the share of texts whose logits and target agree on the label.

    Both are [texts, outputs].
    """
    z = np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits
    wanted = label_probabilities(targets)
    loss = -np.sum(wanted * log_softmax(z.astype(np.float64), axis=1), axis=1)
    return {"loss": float(np.mean(loss)), "accuracy": float(np.mean(z.argmax(axis=1) == wanted.argmax(axis=1)))}
