"""The recipe of the model `accurate`: teachers label unlabelled reviews, and a convolution learns their answers.

Three teachers answer the unlabelled reviews. Held-out reviews decide the weight of each teacher's log-odds. The first
teacher is logistic regression on n-grams, and learns from the labels. The second is logistic regression on document
vectors. The third reads n-grams too, and also learns from the answers of the other two, so it knows n-grams that occur
in no labelled review. The student, a convolution, learns from the labels and from the answers of all three. In every
epoch it also sees random parts of the unlabelled reviews, with the third teacher's answers to them.

Each stage writes a checkpoint, the student after every epoch, and has a separate random generator. An interrupted
training therefore continues from the last checkpoint, with the same result as without the interruption.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from research.teachers.document_vectors import DocumentVectors
from research.teachers.teacher import BUCKET_BITS, Draw, Teacher
from sentiment_conv1d.artifact.configuration import RESERVED_IDS
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import WordTokenizer
from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.evaluation.evaluation import probabilities
from sentiment_conv1d.model.training.checkpoint import Stages
from sentiment_conv1d.model.training.decision_rule import choose_rule
from sentiment_conv1d.model.training.history import History
from sentiment_conv1d.model.training.network import of_tables
from sentiment_conv1d.model.training.recipes import Trained, evaluated
from sentiment_conv1d.model.training.table_network import TableNetwork
from sentiment_conv1d.model.training.task import Task

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

#: Returns the probability of label 1 for a part, ids of the teachers, of the review with this index.
PartAnswers = Callable[[int, Ids], float]

#: The vocabulary size of the teachers, which know rarer words than the student.
TEACHER_VOCABULARY_SIZE = 60_000

_TEACHER_EPOCHS = 3
_VECTOR_EPOCHS = 4

#: Inverse strength of the regularization of the logistic regression on document vectors.
_VECTOR_C = 10

#: Numbers that seed the generator of each stage. The student also has a generator for each epoch.
_FIRST, _VECTORS, _LAST, _STUDENT = range(4)

#: The share of the unlabelled reviews that are replaced by a part, and the smallest share of words in a part.
_CROPPED = 0.5
_SHORTEST_CROP = 0.3
_FEWEST_WORDS = 8

#: The number of reviews per point of the learning curves.
_REVIEWS_PER_POINT = 2_000


@dataclass(frozen=True)
class Distilled:
    """A trained student."""

    student: TableNetwork
    tokenizer: WordTokenizer
    history: History

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return the probability of label 1: float32 [texts, 1]."""
        shape = InputShape.of(self.tokenizer, self.student.width)
        rows = [shape.pad([encoding.ids])[0] for encoding in self.tokenizer.encode_batch(texts)]
        return probabilities(self.student.predict(rows))


@dataclass(frozen=True)
class PlattScaling:
    """Converts the log-odds of teachers, each with a factor, to the probability of label 1."""

    factors: Floats
    offset: np.float32

    def __call__(self, *logits: Floats) -> Floats:
        """Return probabilities, float32 [reviews], from the log-odds of each teacher, float32 [reviews]."""
        answers: Floats = expit(self.log_odds(*logits))
        return answers

    def log_odds(self, *logits: Floats) -> Floats:
        """Return calibrated log-odds, float32 [reviews]."""
        calibrated: Floats = np.stack(logits, axis=1) @ self.factors + self.offset
        return calibrated


@dataclass(frozen=True)
class _Logits:
    """A teacher's log-odds of label 1 for the reviews that have no target."""

    unlabelled: Floats
    held_out: Floats


def distill(task: Task) -> Trained:
    """Train with the recipe `distillation`."""
    stages = task.stages()
    return outcome(task, stages, Distillation(task, stages).run(), task.work.train)


def outcome(
    task: Task, stages: Stages, distilled: Distilled, learned: Examples, weights: Floats | None = None
) -> Trained:
    """Return what a training leaves behind.

    `learned` are the labelled texts that the student has learned, and `weights` say how much each held-out text counts
    for the limits of confidence.
    """
    configuration, work, student = task.configuration, task.work, distilled.student
    assert work.validation is not None
    decision = choose_rule(configuration, work, distilled.predict(work.validation.texts), weights)
    decision = decision.model_copy(update={"chosen_on": work.validation_source})
    return Trained(
        configuration=configuration,
        model=of_tables(configuration, student.tables, *student.dense),
        tokenizer=distilled.tokenizer,
        learned=learned,
        decision=decision,
        evaluation=evaluated(work, distilled.predict, decision),
        history=distilled.history.document,
        stages=stages,
    )


class Distillation:
    """Runs the stages on the same data. The labelled reviews come first."""

    _held_out_weights: Floats | None = None  # of the held-out reviews; None: all count the same

    def __init__(self, task: Task, stages: Stages) -> None:
        configuration, work = task.configuration, task.work
        assert work.validation is not None  # calibrates the probabilities of the teachers and the student
        self._configuration = configuration
        self._stages = stages
        self._progress = task.progress
        known = [*work.train.texts, *work.unlabelled]
        size, max_tokens = configuration.vocabulary_size, configuration.max_tokens
        full = WordTokenizer.from_texts(self._counted(known), max(TEACHER_VOCABULARY_SIZE, size), max_tokens)
        self._teacher_words = full.words
        self._tokenizer = WordTokenizer(full.words[: size - RESERVED_IDS], max_tokens)
        self._shape = InputShape.of(self._tokenizer, max(bank.width for bank in configuration.convolutions))
        self._reviews = [encoding.ids for encoding in full.encode_batch(known)]
        self._held_out = [encoding.ids for encoding in full.encode_batch(work.validation.texts)]
        self._labels = work.train.labels.astype(np.float32)
        self._held_out_labels = work.validation.labels

    def run(self) -> Distilled:
        """Run every stage."""
        targets, part_answers = self._taught()
        student, history = self._student(targets, part_answers)
        answers = self._weighted(self._held_out_logits(student))
        student.scale(float(answers.factors[0]), float(answers.offset))
        return Distilled(student, self._tokenizer, history)

    def _taught(self) -> tuple[Floats, PartAnswers | None]:
        """Return the targets of all reviews, and a function that answers parts of unlabelled reviews."""
        if len(self._reviews) == len(self._labels):
            return self._labels, None
        first = self._logits(self._teacher("teacher-0", _FIRST, self._labels))
        vectors = self._vector_logits()
        targets = self._targets(first, vectors)
        teacher = self._teacher("teacher-1", _LAST, targets)
        last = self._logits(teacher)
        answers = self._weighted(last.held_out)
        return self._targets(first, vectors, last), lambda _, part: float(answers(teacher.predict([part]))[0])

    def _teacher(
        self,
        stage: str,
        seed: int,
        targets: Floats,
        epochs: int = _TEACHER_EPOCHS,
        bucket_bits: int = BUCKET_BITS,
        draw: Draw | None = None,
    ) -> Teacher:
        """Train a teacher on the first reviews, which have targets, or read it from its stage."""
        teacher = Teacher(bucket_bits)
        found = self._stages.read(stage)
        if found is None:
            finished = teacher.fit(self._reviews[: len(targets)], targets, epochs, self._generator(seed), draw)
            for _ in self._bar(finished, stage, epochs):
                pass
            self._stages.keep(stage, teacher.state())
        else:
            teacher.restore(found)
        return teacher

    def _vector_logits(self) -> _Logits:
        """Return the log-odds of the teacher that reads document vectors."""
        found = self._stages.read("vectors")
        if found is None:
            documents = DocumentVectors([*self._reviews, *self._held_out], self._generator(_VECTORS))
            for _ in self._bar(documents.fit(_VECTOR_EPOCHS), "document vectors", _VECTOR_EPOCHS):
                pass
            labelled, unlabelled, held_out = np.split(documents.vectors, [len(self._labels), len(self._reviews)])
            classifier = LogisticRegression(C=_VECTOR_C, max_iter=1000).fit(labelled, self._labels)
            found = {
                "unlabelled": classifier.decision_function(unlabelled).astype(np.float32),
                "held_out": classifier.decision_function(held_out).astype(np.float32),
            }
            self._stages.keep("vectors", found)
        return _Logits(**found)

    def _logits(self, teacher: Teacher) -> _Logits:
        return _Logits(teacher.predict(self._reviews[len(self._labels) :]), teacher.predict(self._held_out))

    def _targets(self, *teachers: _Logits) -> Floats:
        """Return the targets of all reviews: the labels, and the teachers' joint answers to the unlabelled reviews."""
        answers = self._weighted(*(logits.held_out for logits in teachers))
        return np.concatenate([self._labels, answers(*(logits.unlabelled for logits in teachers))])

    def _weighted(self, *held_out: Floats, among: npt.NDArray[np.intp] | slice = slice(None)) -> PlattScaling:
        """Return the factors and the offset that calibrate log-odds, float32 [held out], by Platt scaling.

        `among` selects the held-out reviews that decide.
        """
        weights = None if self._held_out_weights is None else self._held_out_weights[among]
        fitted = LogisticRegression(C=np.inf).fit(
            np.stack(held_out, axis=1)[among], self._held_out_labels[among], weights
        )
        return PlattScaling(fitted.coef_[0].astype(np.float32), np.float32(fitted.intercept_[0]))

    def _counted(self, texts: list[str]) -> list[str]:
        """Return the texts whose words are counted for the vocabulary."""
        return texts

    def _order(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return what the student learns from in an epoch, as `_lesson` understands it: indices of reviews."""
        return generator.permutation(len(self._reviews))

    def _lesson(
        self, place: int, targets: Floats, part_answers: PartAnswers | None, generator: np.random.Generator
    ) -> tuple[Ids, float]:
        """Return the ids of a review, or of a part of it, and the probability of label 1 that the student learns."""
        ids = self._reviews[place]
        if part_answers is None or place < len(self._labels) or generator.random() >= _CROPPED:
            return ids, float(targets[place])
        ids = crop(ids, generator)
        return ids, part_answers(place, ids)

    def _generator(self, *stage: int) -> np.random.Generator:
        return np.random.default_rng((self._configuration.seed, *stage))

    def _student(self, targets: Floats, part_answers: PartAnswers | None) -> tuple[TableNetwork, History]:
        """Train the student on the targets of all reviews and on the answers to parts of unlabelled reviews."""
        configuration = self._configuration
        student = TableNetwork(
            self._tokenizer.vocabulary_size,
            configuration.max_tokens,
            configuration.convolutions,
            self._generator(_STUDENT),
        )
        history = History(_measured, _REVIEWS_PER_POINT)
        found = self._stages.read("student")
        if found is not None:
            student.restore(found)
            history.restore(found["history"])
        for epoch in range(len(history.epochs), configuration.epochs):
            started = time.perf_counter()
            generator = self._generator(_STUDENT, epoch)
            order = self._order(generator)
            logits, learned = np.empty(
                (2, len(order))
            )  # the log-odds before the student learns a target, and the targets
            for step, place in enumerate(self._bar(order, f"epoch {epoch + 1} of {configuration.epochs}", len(order))):
                ids, target = self._lesson(int(place), targets, part_answers, generator)
                learned[step] = target
                [logits[step]] = student.learn(
                    self._read([ids])[0],
                    target,
                    learning_rate=configuration.learning_rate,
                    dropout=configuration.hidden_dropout,
                    generator=generator,
                )
            row = history.row(logits, learned) | history.held_out(self._held_out_logits(student), self._held_out_labels)
            history.epochs.append({**row, "seconds": time.perf_counter() - started})
            self._stages.keep("student", {**student.state(), "history": history.state()})
        return student, history

    def _read(self, reviews: Sequence[Ids], shape: InputShape | None = None) -> list[Ids]:
        """Return the ids for a network that knows fewer words. Short reviews get pad ids in front."""
        shape, unknown = shape or self._shape, np.int32(self._tokenizer.unknown_id)
        return [shape.pad([np.where(ids < shape.vocabulary_size, ids, unknown)])[0] for ids in reviews]

    def _held_out_logits(self, student: TableNetwork) -> Floats:
        return student.predict(self._read(self._held_out))[:, 0]

    def _bar(self, steps: Iterable[Any], what: str, count: int) -> Iterable[Any]:
        return tqdm(steps, what, count, disable=not self._progress)


def _measured(logits: npt.ArrayLike, targets: npt.ArrayLike) -> dict[str, float]:
    """Return the cross-entropy, and the share of reviews whose log-odds and target agree on the label."""
    z, p = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
    return {"loss": float(np.mean(np.logaddexp(0, z) - p * z)), "accuracy": float(np.mean((z > 0) == (p > 0.5)))}


def crop(ids: Ids, generator: np.random.Generator) -> Ids:
    """Return a random part of a review, after the start id."""
    words = ids[1:]
    length = max(int(len(words) * generator.uniform(_SHORTEST_CROP, 1)), min(len(words), _FEWEST_WORDS))
    start = generator.integers(len(words) - length + 1)
    return np.concatenate([ids[:1], words[start : start + length]])
