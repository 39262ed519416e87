"""The recipe of the model `accurate`: teachers label unlabelled reviews, and a convolution learns their answers.

Three teachers answer the unlabelled reviews. Held-out reviews decide the weight of each teacher's log-odds. The first
teacher is logistic regression on n-grams, and learns from the labels. The second is logistic regression on document
vectors. The third reads n-grams too, and also learns from the answers of the other two, so it knows n-grams that occur
in no labelled review. The student, a convolution, learns from the labels and from the answers of all three. In every
epoch it also sees random parts of the unlabelled reviews, with the third teacher's answers to them.

Each teacher writes a checkpoint and has a separate random generator. An interrupted training therefore continues from
the last checkpoint, with the same result as without the interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from research import student
from research.student import HeldOut, Lesson, Lessons
from research.teachers.document_vectors import DocumentVectors
from research.teachers.teacher import Teacher
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer, learn
from sentiment_conv1d.model.training.checkpoint import Stages
from sentiment_conv1d.model.training.recipes import Trained
from sentiment_conv1d.model.training.task import Task

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

#: Returns the probability of label 1 for a part of a review, ids of the teachers.
PartAnswers = Callable[[Ids], float]

#: The vocabulary size of the teachers, which know rarer words than the student.
TEACHER_VOCABULARY_SIZE = 60_000

_TEACHER_EPOCHS = 3
_VECTOR_EPOCHS = 4

#: Inverse strength of the regularization of the logistic regression on document vectors.
_VECTOR_C = 10

#: Numbers that seed the generator of each teacher.
_FIRST, _VECTORS, _LAST = range(3)

#: The share of the unlabelled reviews that are replaced by a part, and the smallest share of words in a part.
_CROPPED = 0.5
_SHORTEST_CROP = 0.3
_FEWEST_WORDS = 8


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
    return student.outcome(task, stages, Distillation(task, stages).run())


class Distillation:
    """Runs the stages on the same data. The labelled reviews come first."""

    def __init__(self, task: Task, stages: Stages) -> None:
        configuration, work = task.configuration, task.work
        assert work.validation is not None  # calibrates the probabilities of the teachers and the student
        self._task, self._stages = task, stages
        known = [*work.train.texts, *work.unlabelled]
        size = max(TEACHER_VOCABULARY_SIZE, configuration.vocabulary_size)
        full = learn(configuration.model_copy(update={"vocabulary_size": size}), known)
        self._tokenizer = learn(configuration, (), full.words)
        self._reviews = [encoding.ids for encoding in full.encode_batch(known)]
        self._held_out = [encoding.ids for encoding in full.encode_batch(work.validation.texts)]
        self._labels = work.train.labels.astype(np.float32)
        self._held_out_labels = work.validation.labels

    def run(self) -> student.Student:
        """Run every stage."""
        targets, part_answers = self._taught()
        lessons = _Reviews(self._tokenizer, self._reviews, len(self._labels), targets, part_answers)
        held_out = HeldOut(
            [_known(self._tokenizer, ids) for ids in self._held_out],
            self._held_out_labels[:, np.newaxis].astype(np.float32),
        )
        trained = student.train(self._task, self._stages, self._tokenizer, lessons, held_out)
        answers = self._weighted(trained.logits(held_out.ids)[:, 0])
        trained.network.scale(float(answers.factors[0]), answers.offset)
        return trained

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
        return self._targets(first, vectors, last), lambda part: float(answers(teacher.predict([part]))[0])

    def _teacher(self, stage: str, seed: int, targets: Floats) -> Teacher:
        """Train a teacher on the first reviews, which have targets, or read it from its stage."""
        teacher = Teacher()
        found = self._stages.read(stage)
        if found is None:
            reviews = self._reviews[: len(targets)]
            for _ in self._bar(
                teacher.fit(reviews, targets, _TEACHER_EPOCHS, self._generator(seed)), stage, _TEACHER_EPOCHS
            ):
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

    def _weighted(self, *held_out: Floats) -> PlattScaling:
        """Return the factors and the offset that calibrate log-odds, float32 [held out], by Platt scaling."""
        fitted = LogisticRegression(C=np.inf).fit(np.stack(held_out, axis=1), self._held_out_labels)
        return PlattScaling(fitted.coef_[0].astype(np.float32), np.float32(fitted.intercept_[0]))

    def _generator(self, stage: int) -> np.random.Generator:
        return np.random.default_rng((self._task.configuration.seed, stage))

    def _bar(self, steps: Iterable[Any], what: str, count: int) -> Iterable[Any]:
        return tqdm(steps, what, count, disable=None if self._task.progress else True)


@dataclass(frozen=True)
class _Reviews(Lessons):
    """All reviews in an epoch, and parts of some that have no label."""

    tokenizer: VocabularyTokenizer
    reviews: list[Ids]  # of the teachers
    labelled: int  # the first ones
    targets: Floats  # the probability of label 1 of every review
    part_answers: PartAnswers | None
    last_rate: float = 1

    def order(self, generator: np.random.Generator, *, is_last: bool) -> npt.NDArray[np.int64]:
        return generator.permutation(len(self.reviews))

    def lesson(self, place: int, generator: np.random.Generator) -> Lesson:
        ids, target = self.reviews[place], float(self.targets[place])
        if self.part_answers is not None and place >= self.labelled and generator.random() < _CROPPED:
            ids = crop(ids, generator)
            target = self.part_answers(ids)
        return Lesson(_known(self.tokenizer, ids), np.array([target], np.float32))


def _known(tokenizer: VocabularyTokenizer, ids: Ids) -> Ids:
    """Return ids of the teachers for a tokenizer that knows fewer words."""
    assert tokenizer.unknown_id is not None  # of words
    return np.where(ids < tokenizer.vocabulary_size, ids, np.int32(tokenizer.unknown_id))


def crop(ids: Ids, generator: np.random.Generator) -> Ids:
    """Return a random part of a review, after the start id."""
    words = ids[1:]
    length = max(int(len(words) * generator.uniform(_SHORTEST_CROP, 1)), min(len(words), _FEWEST_WORDS))
    start = generator.integers(len(words) - length + 1)
    return np.concatenate([ids[:1], words[start : start + length]])
