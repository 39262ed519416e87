"""The recipe of the preset `accurate`: teachers label unlabelled reviews, and a convolution learns their answers.

A teacher is logistic regression on n-grams. The first learns from the labels; the others learn from the labels and
from the answers of the one before to the unlabelled reviews, so they know n-grams that no labelled review has. The
student, a convolution, learns from the labels and from the answers of the last teacher. In every epoch it sees other
parts of the unlabelled reviews as well, with the teacher's answers to these parts.

Each stage leaves a checkpoint, the student one an epoch, and draws random numbers from a generator of its own. So a
training that is interrupted continues from the last checkpoint, and ends as if it had not been interrupted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from sentiment_conv1d.model.configuration import RESERVED_IDS, Configuration
from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.input_shape import InputShape
from sentiment_conv1d.model.tokenizer import WordTokenizer
from sentiment_conv1d.model.training.stages import Arrays, Stages
from sentiment_conv1d.model.training.student import Student
from sentiment_conv1d.model.training.teacher import Teacher

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
History = dict[str, list[dict[str, float]]]

#: Ids of the teachers, which read rarer words than the student.
TEACHER_VOCABULARY_SIZE = 60_000

#: The first learns from the labels, each other one from the answers of the one before too.
_TEACHERS = 3
_TEACHER_EPOCHS = 3

#: Share of the unlabelled reviews of which a part is read, and the least share of the words that such a part has.
_CROPPED = 0.5
_SHORTEST_CROP = 0.3
_FEWEST_WORDS = 8

#: Reviews that make one point of the learning curves.
_REVIEWS_PER_POINT = 2_000


@dataclass(frozen=True)
class Texts:
    """What a student learns from; `held_out` calibrates the probabilities of teachers and student."""

    labelled: Examples
    unlabelled: Sequence[str]
    held_out: Examples


@dataclass(frozen=True)
class Distilled:
    """A trained student; `history` is what `model.evaluation.plots` draws the learning curves from."""

    student: Student
    tokenizer: WordTokenizer
    history: History

    def predict(self, texts: Sequence[str]) -> Floats:
        """The probability of label 1: [texts, 1]."""
        shape = InputShape.of(self.tokenizer, self.student.width)
        rows = [shape.pad([encoding.ids])[0] for encoding in self.tokenizer.encode_batch(texts)]
        probabilities: Floats = expit(self.student.predict(rows))
        return probabilities[:, np.newaxis]


def distill(configuration: Configuration, texts: Texts, stages: Stages, progress: bool) -> Distilled:
    """Train the student of a configuration with the recipe `distillation`, from the last of `stages` on."""
    return _Distillation(configuration, texts, stages, progress).run()


@dataclass(frozen=True)
class _Calibrated:
    """A teacher with what turns its log-odds into a probability."""

    teacher: Teacher
    factor: float
    offset: float

    def answers(self, reviews: Sequence[Ids]) -> Floats:
        """The probability of label 1: [reviews]."""
        logits = np.float32(self.factor) * self.teacher.predict(reviews) + np.float32(self.offset)
        answers: Floats = expit(logits)
        return answers


class _Distillation:
    """The stages, and what all of them read. Of all reviews, the labelled ones come first."""

    def __init__(self, configuration: Configuration, texts: Texts, stages: Stages, progress: bool) -> None:
        self._configuration = configuration
        self._stages = stages
        self._progress = progress
        known = [*texts.labelled.texts, *texts.unlabelled]
        size, max_tokens = configuration.vocabulary_size, configuration.max_tokens
        full = WordTokenizer.from_texts(known, max(TEACHER_VOCABULARY_SIZE, size), max_tokens)
        self._tokenizer = WordTokenizer(full.words[: size - RESERVED_IDS], max_tokens)
        self._shape = InputShape.of(self._tokenizer, configuration.convolutions[0].width)
        self._reviews = [encoding.ids for encoding in full.encode_batch(known)]
        self._held_out = [encoding.ids for encoding in full.encode_batch(texts.held_out.texts)]
        self._labels = texts.labelled.labels.astype(np.float32)
        self._held_out_labels = texts.held_out.labels

    def run(self) -> Distilled:
        """Every stage, one after the other."""
        targets, teacher = self._labels, None
        unlabelled = self._reviews[len(self._labels) :]
        if unlabelled:
            for generation in range(_TEACHERS):
                teacher = self._teacher(generation, targets)
                targets = np.concatenate([self._labels, teacher.answers(unlabelled)])
        student, history = self._student(targets, teacher)
        student.scale(*self._calibration(self._held_out_logits(student)))
        return Distilled(student, self._tokenizer, history)

    def _teacher(self, generation: int, targets: Floats) -> _Calibrated:
        """A teacher of the reviews that have targets, the first ones."""
        teacher, stage = Teacher(), f"teacher-{generation}"
        found = self._stages.read(stage)
        if found is None:
            generator = np.random.default_rng((self._configuration.seed, generation))
            epochs = teacher.fit(self._reviews[: len(targets)], targets, _TEACHER_EPOCHS, generator)
            for _ in self._bar(epochs, f"teacher {generation + 1} of {_TEACHERS}", _TEACHER_EPOCHS):
                pass
            self._keep(stage, teacher.state())
        else:
            teacher.restore(found)
        return _Calibrated(teacher, *self._calibration(teacher.predict(self._held_out)))

    def _student(self, targets: Floats, teacher: _Calibrated | None) -> tuple[Student, History]:
        """The student, which learns the targets of all reviews, and the teacher's answers to parts of some."""
        configuration = self._configuration
        (convolution,) = configuration.convolutions
        student = Student(
            self._tokenizer.vocabulary_size,
            configuration.max_tokens,
            convolution.width,
            convolution.filters,
            np.random.default_rng((configuration.seed, _TEACHERS)),
        )
        recorder, first = _Recorder(), 0
        found = self._stages.read("student")
        if found is not None:
            student.restore(found)
            recorder = _Recorder.restored(found["history"])
            first = len(recorder.history["epochs"])
        for epoch in range(first, configuration.epochs):
            generator = np.random.default_rng((configuration.seed, _TEACHERS, epoch))
            order = generator.permutation(len(targets))
            recorder.begin()
            for index in self._bar(order, f"epoch {epoch + 1} of {configuration.epochs}", len(order)):
                ids, target = self._reviews[index], float(targets[index])
                if teacher is not None and index >= len(self._labels) and generator.random() < _CROPPED:
                    ids = _crop(ids, generator)
                    target = float(teacher.answers([ids])[0])
                logit = student.learn(
                    self._read([ids])[0],
                    target,
                    learning_rate=configuration.learning_rate,
                    dropout=configuration.hidden_dropout,
                    generator=generator,
                )
                recorder.step(logit, target)
            recorder.end(self._held_out_logits(student), self._held_out_labels)
            self._keep("student", {**student.state(), "history": recorder.state()})
        return student, recorder.history

    def _keep(self, stage: str, arrays: Arrays) -> None:
        try:
            self._stages.write(stage, arrays)
        except OSError as error:
            # The training is worth more than a checkpoint of it.
            tqdm.write(f"warning: {self._stages.folder}: no checkpoint of {stage} ({error.strerror or error})")

    def _read(self, reviews: Sequence[Ids]) -> list[Ids]:
        """The ids that a student reads: it knows fewer words, and a short review has pad ids in front."""
        size, unknown = self._tokenizer.vocabulary_size, np.int32(self._tokenizer.unknown_id)
        return [self._shape.pad([np.where(ids < size, ids, unknown)])[0] for ids in reviews]

    def _held_out_logits(self, student: Student) -> Floats:
        return student.predict(self._read(self._held_out))

    def _calibration(self, logits: Floats) -> tuple[float, float]:
        """Factor and offset that make log-odds [held out] as sure as they are right (Platt scaling)."""
        fitted = LogisticRegression(C=np.inf).fit(logits[:, np.newaxis], self._held_out_labels)
        return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])

    def _bar(self, steps: Iterable[Any], what: str, count: int) -> Iterable[Any]:
        return tqdm(steps, what, count, disable=not self._progress)


class _Recorder:
    """The history of a student: points of some thousand reviews, and epochs."""

    def __init__(self, history: History | None = None) -> None:
        self.history = history or {"steps": [], "epochs": []}
        self._step = int(self.history["steps"][-1]["step"]) if self.history["steps"] else 0

    @classmethod
    def restored(cls, state: npt.NDArray[np.uint8]) -> _Recorder:
        """A recorder that continues the history of a checkpoint."""
        return cls(json.loads(state.tobytes()))

    def state(self) -> npt.NDArray[np.uint8]:
        """The history as an array."""
        return np.frombuffer(json.dumps(self.history).encode(), np.uint8)

    def begin(self) -> None:
        """An epoch begins."""
        self._started = time.perf_counter()
        self._logits: list[float] = []
        self._targets: list[float] = []

    def step(self, logit: float, target: float) -> None:
        """The student gave these log-odds before it learned the target."""
        self._logits.append(logit)
        self._targets.append(target)
        self._step += 1
        if len(self._logits) % _REVIEWS_PER_POINT == 0:
            self._point(_REVIEWS_PER_POINT)

    def end(self, held_out_logits: Floats, held_out_labels: npt.NDArray[np.int64]) -> None:
        """The epoch is over."""
        if rest := len(self._logits) % _REVIEWS_PER_POINT:
            self._point(rest)
        held_out = _measured(held_out_logits, held_out_labels)
        self.history["epochs"].append(
            {
                "epoch": len(self.history["epochs"]) + 1,
                **_measured(self._logits, self._targets),
                **{f"validation_{name}": value for name, value in held_out.items()},
                "seconds": time.perf_counter() - self._started,
            }
        )

    def _point(self, reviews: int) -> None:
        """Add a point for the last reviews."""
        measured = _measured(self._logits[-reviews:], self._targets[-reviews:])
        self.history["steps"].append({"step": self._step, **measured})


def _measured(logits: npt.ArrayLike, targets: npt.ArrayLike) -> dict[str, float]:
    """Cross-entropy, and how often log-odds and probability are on the same side."""
    z, p = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
    return {"loss": float(np.mean(np.logaddexp(0, z) - p * z)), "accuracy": float(np.mean((z > 0) == (p > 0.5)))}


def _crop(ids: Ids, generator: np.random.Generator) -> Ids:
    """A part of a review, behind its start id."""
    words = ids[1:]
    length = max(int(len(words) * generator.uniform(_SHORTEST_CROP, 1)), min(len(words), _FEWEST_WORDS))
    start = generator.integers(len(words) - length + 1)
    return np.concatenate([ids[:1], words[start : start + length]])
