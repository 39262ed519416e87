"""The recipe of the preset `reviews`: a distillation from texts of several domains.

In every epoch, the teacher and the student read a sample with as many negative as positive texts of each domain, so
they do not learn which domain is mostly positive. The teacher reads n-grams. A domain can have another teacher, a
published model, and the student learns the mean of the log-odds of both.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.data.sampling import Sampling
from sentiment_conv1d.model.training.distillation import (
    Distillation,
    Distilled,
    Floats,
    Ids,
    PartAnswers,
    Texts,
)
from sentiment_conv1d.model.training.domain_teacher import DomainTeacher
from sentiment_conv1d.model.training.stages import Stages
from sentiment_conv1d.model.training.teacher import Teacher

#: More buckets than for one domain, because there are more n-grams.
_BUCKET_BITS = 24
_TEACHER_EPOCHS = 4

#: The share of the teacher of a domain in the log-odds that the student learns.
_SHARE = 0.6

#: Numbers that seed the generators of the vocabulary and of the teacher.
_VOCABULARY, _TEACHER = 10, 11


def distill_mixture(
    configuration: Configuration, texts: Texts, sampling: Sampling, stages: Stages, progress: bool
) -> Distilled:
    """Train a student with the recipe `mixture`. The training continues after the last of `stages`."""
    return MixtureDistillation(configuration, texts, sampling, stages, progress).run()


class MixtureDistillation(Distillation):
    """Runs the stages on samples of the domains."""

    def __init__(
        self, configuration: Configuration, texts: Texts, sampling: Sampling, stages: Stages, progress: bool
    ) -> None:
        self._sampling = sampling
        super().__init__(configuration, texts, stages, progress)
        self._cropped = sampling.mixture.crops
        self._held_out_weights = sampling.held_out_weights(texts.held_out.labels)

    def _counted(self, texts: list[str]) -> list[str]:
        generator = np.random.default_rng((self._configuration.seed, _VOCABULARY))
        return [texts[index] for index in self._sampling.all(generator)]

    def _order(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        return self._sampling.all(generator)

    def _taught(self) -> tuple[Floats, PartAnswers]:
        teacher = self._ngram_teacher()
        platt = self._weighted(teacher.predict(self._held_out))
        domain_teachers = self._domain_teachers

        def answer(index: int, ids: Ids) -> float:
            [logit] = platt.log_odds(teacher.predict([ids]))
            other = domain_teachers[self._sampling.domains[index]]
            if other is not None:
                logit += _SHARE * (other.predict([ids])[0] - logit)
            return float(expit(logit))

        found = self._stages.read("answers")
        if found is None:
            unlabelled = range(len(self._labels), len(self._reviews))
            answers = [
                answer(index, self._reviews[index]) for index in self._bar(unlabelled, "answers", len(unlabelled))
            ]
            found = {"answers": np.array(answers, np.float32)}
            self._keep("answers", found)
        return np.concatenate([self._labels, found["answers"]]), answer

    @property
    def _domain_teachers(self) -> list[DomainTeacher | None]:
        """The teacher of each domain."""
        names = [self._sampling.mixture.amount(domain).teacher for domain in self._sampling.names]
        opened = {name: DomainTeacher(name, self._teacher_words) for name in {*names} if name is not None}
        return [None if name is None else opened[name] for name in names]

    def _ngram_teacher(self) -> Teacher:
        """Train the teacher that reads n-grams, or read it from its stage."""
        teacher = Teacher(_BUCKET_BITS)
        found = self._stages.read("teacher")
        if found is None:
            count = len(self._labels)
            epochs = teacher.fit(
                self._reviews[:count],
                self._labels,
                _TEACHER_EPOCHS,
                self._generator(_TEACHER),
                self._sampling.labelled,
            )
            for _ in self._bar(epochs, "teacher", _TEACHER_EPOCHS):
                pass
            self._keep("teacher", teacher.state())
        else:
            teacher.restore(found)
        return teacher
