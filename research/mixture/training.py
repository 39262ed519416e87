"""The recipe of the model `reviews`: a distillation from texts of several domains.

In every epoch, the teachers and the student read a sample with as many negative as positive texts of each domain, so
they do not learn which domain is mostly positive. Two teachers learn the labels: logistic regression on n-grams, and a
convolution with more filters and words than the student. Held-out texts decide the weights of their log-odds. A domain
can have another teacher, a published model. The student learns the labels, the teachers' answers to texts without a
label, and their answers to parts of texts, so that it also knows short texts.

The plan of the mixture can name a file of stored answers, of a model that is too slow to be a teacher here. They are
mixed into the labels that the teachers and the student learn, the teachers also learn the answers to texts without a
label, and they count among the teachers' answers to whole texts. Sentences of the texts can have stored answers, too,
which all of them learn. A text without a stored answer is learned as above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from research.distillation import (
    Distillation,
    Floats,
    Ids,
    PartAnswers,
    PlattScaling,
    crop,
    outcome,
)
from research.mixture.domains import MixturePlan
from research.mixture.sentences import sentences
from research.mixture.stored_answers import StoredAnswers
from research.teachers.domain_teacher import DomainTeacher
from sentiment_conv1d.artifact.configuration import RESERVED_IDS, Convolution
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import WordTokenizer
from sentiment_conv1d.model.data.labels import SENTIMENTS
from sentiment_conv1d.model.training.checkpoint import Stages
from sentiment_conv1d.model.training.recipes import Trained
from sentiment_conv1d.model.training.table_network import TableNetwork
from sentiment_conv1d.model.training.task import Task

#: More buckets than for one domain, because there are more n-grams.
_BUCKET_BITS = 24
_TEACHER_EPOCHS = 4

#: The convolution that teaches.
_NETWORK_BANKS = tuple(Convolution(width=width, filters=filters) for width, filters in ((1, 128), (2, 128), (3, 192)))
_NETWORK_VOCABULARY_SIZE = 30_000
_NETWORK_DROPOUT = 0.5

#: The share of the teacher of a domain in the log-odds that the student learns.
_SHARE = 0.6

#: The share of the stored answers in the probabilities that are learned of labelled texts.
_STORED_SHARE = 0.5

#: The share of the parts that have the length of a sentence, and that length in words. The others are longer.
_SENTENCES = 0.5
_SENTENCE = range(4, 26)

#: A labelled review is also read with the teachers' answer instead of its label, or only a part of it is.
_ANSWERED, _PART = 1, 2

#: Numbers that seed the generators of the vocabulary and of the teachers.
_VOCABULARY, _TEACHER, _NETWORK = 10, 11, 12


def distill_mixture(task: Task) -> Trained:
    """Train with the recipe `mixture`. The texts of the task are those of a `MixturePlan`."""
    work = task.work
    assert isinstance(work, MixturePlan) and work.validation is not None
    stages = task.stages(work.digest())
    learned = work.train.take(work.sampling.labelled(np.random.default_rng(task.configuration.seed)))
    weights = work.sampling.held_out_weights(work.validation.labels)
    return outcome(task, stages, MixtureDistillation(task, stages).run(), learned, weights)


class MixtureDistillation(Distillation):
    """Trains a student with the recipe `mixture`: runs the stages on samples of the domains."""

    def __init__(self, task: Task, stages: Stages) -> None:
        work = task.work
        assert isinstance(work, MixturePlan) and work.validation is not None
        self._sampling = work.sampling
        super().__init__(task, stages)
        self._network_shape = replace(
            InputShape.of(self._tokenizer, max(bank.width for bank in _NETWORK_BANKS)),
            vocabulary_size=min(_NETWORK_VOCABULARY_SIZE, len(self._teacher_words) + RESERVED_IDS),
        )
        self._held_out_weights = work.sampling.held_out_weights(work.validation.labels)
        self._texts = len(self._reviews)  # the sentences follow
        known = [*work.train.texts, *work.unlabelled]
        stored = work.answers
        found = answered_sentences(known, stored)
        tokenizer = WordTokenizer(self._teacher_words, task.configuration.max_tokens)
        self._reviews += [encoding.ids for encoding in tokenizer.encode_batch(found)]
        self._stored, self._stored_held_out = stored.to([*known, *found]), stored.to(work.validation.texts)
        self._learned = self._labels_and_answers()

    def _labels_and_answers(self) -> Floats:
        """Return the probability of label 1 that is learned of each text, NaN for one without a label or an answer."""
        answers = expit(self._stored)
        count = len(self._labels)
        mixed = self._labels + _STORED_SHARE * (answers[:count] - self._labels)
        labelled = np.where(np.isnan(mixed), self._labels, mixed)
        return np.concatenate([labelled, answers[count:]])

    def _counted(self, texts: list[str]) -> list[str]:
        generator = np.random.default_rng((self._configuration.seed, _VOCABULARY))
        return [texts[index] for index in self._sampling.all(generator)]

    def _order(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return indices of reviews, plus `_ANSWERED` or `_PART` times the number of reviews: see `_lesson`."""
        mixture, count = self._sampling.mixture, len(self._reviews)
        labelled, unlabelled = self._sampling.labelled(generator), self._sampling.unlabelled(generator)
        others = generator.permutation(np.setdiff1d(np.arange(len(self._labels)), labelled))[: mixture.others]
        parts = generator.permutation(labelled)[: mixture.parts]
        drawn = [labelled, unlabelled, others + _ANSWERED * count, parts + _PART * count, self._sentences(generator)]
        return generator.permutation(np.concatenate(drawn))

    def _lesson(
        self, place: int, targets: Floats, part_answers: PartAnswers | None, generator: np.random.Generator
    ) -> tuple[Ids, float]:
        kind, index = divmod(place, len(self._reviews))
        ids, target = self._reviews[index], float(targets[index])
        is_unlabelled = len(self._labels) <= index < self._texts
        is_part = kind == _PART or (is_unlabelled and generator.random() < self._sampling.mixture.crops)
        if is_part:
            ids = part(ids, generator)
        if part_answers is not None and (is_part or kind == _ANSWERED):
            target = part_answers(index, ids)
        return self._without_words(ids, generator), target

    def _without_words(self, ids: Ids, generator: np.random.Generator) -> Ids:
        """Replace a share of the words by the unknown word, so that the network does not rely on single words."""
        lost = generator.random(len(ids), np.float32) < self._configuration.word_dropout
        lost[:1] = False  # the start of the text
        return np.where(lost, np.int32(self._tokenizer.unknown_id), ids)

    def _taught(self) -> tuple[Floats, PartAnswers | None]:
        ngrams = self._teacher("teacher", _TEACHER, self._learned, _TEACHER_EPOCHS, _BUCKET_BITS, self._to_teach)
        network = self._network_teacher()

        def logits(reviews: Sequence[Ids]) -> tuple[Floats, Floats]:
            return ngrams.predict(reviews), network.predict(self._read(reviews, self._network_shape))[:, 0]

        held_out = logits(self._held_out)
        joint, with_stored = self._weighted(*held_out), self._weighted_with_stored(*held_out)
        domain_teachers = self._domain_teachers

        def answer(index: int, ids: Ids) -> float:
            is_whole = len(ids) == len(self._reviews[index])
            if with_stored is None or not is_whole or np.isnan(self._stored[index]):
                [logit] = joint.log_odds(*logits([ids]))
            else:
                [logit] = with_stored.log_odds(*logits([ids]), self._stored[[index]])
            other = domain_teachers[self._sampling.domains[index]]
            if other is not None:
                logit += _SHARE * (other.predict([ids])[0] - logit)
            return float(expit(logit))

        found = self._stages.read("answers")
        if found is None:
            unlabelled = range(len(self._labels), self._texts)
            answers = [
                answer(index, self._reviews[index]) for index in self._bar(unlabelled, "answers", len(unlabelled))
            ]
            found = {"answers": np.array(answers, np.float32)}
            self._stages.keep("answers", found)
        learned = self._learned
        return np.concatenate([learned[: len(self._labels)], found["answers"], learned[self._texts :]]), answer

    def _weighted_with_stored(self, *held_out: Floats) -> PlattScaling | None:
        """Return how the teachers and the stored answers count together; None without enough stored answers."""
        known = np.flatnonzero(~np.isnan(self._stored_held_out))
        if len({*self._held_out_labels[known]}) < len(SENTIMENTS):
            return None
        return self._weighted(*held_out, self._stored_held_out, among=known)

    def _to_teach(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw the texts that the teachers learn from in an epoch."""
        drawn: npt.NDArray[np.int64] = np.concatenate([self._sampling.all(generator), self._sentences(generator)])
        drawn = generator.permutation(drawn)
        return drawn[~np.isnan(self._learned[drawn])]

    def _sentences(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw sentences with a stored answer."""
        drawn = generator.permutation(np.arange(self._texts, len(self._reviews), dtype=np.int64))
        return drawn[: self._sampling.mixture.sentences]

    @property
    def _domain_teachers(self) -> list[DomainTeacher | None]:
        """The teacher of each domain."""
        names = [self._sampling.mixture.amount(domain).teacher for domain in self._sampling.names]
        opened = {name: DomainTeacher(name, self._teacher_words) for name in {*names} if name is not None}
        return [None if name is None else opened[name] for name in names]

    def _network_teacher(self) -> TableNetwork:
        """Train the convolution that teaches, or continue after the last epoch in its stage."""
        generator = self._generator(_NETWORK)
        network = TableNetwork(
            self._network_shape.vocabulary_size, self._configuration.max_tokens, _NETWORK_BANKS, generator
        )
        found = self._stages.read("network")
        first = 0
        if found is not None:
            network.restore(found)
            first = int(found["epochs"])
        for epoch in range(first, _TEACHER_EPOCHS):
            generator = self._generator(_NETWORK, epoch)
            order = self._to_teach(generator)
            for index in self._bar(order, f"second teacher, epoch {epoch + 1} of {_TEACHER_EPOCHS}", len(order)):
                [ids] = self._read([self._without_words(self._reviews[index], generator)], self._network_shape)
                network.learn(
                    ids,
                    float(self._learned[index]),
                    learning_rate=self._configuration.learning_rate,
                    dropout=_NETWORK_DROPOUT,
                    generator=generator,
                )
            self._stages.keep("network", {**network.state(), "epochs": np.array(epoch + 1)})
        return network


def answered_sentences(texts: Sequence[str], stored: StoredAnswers) -> list[str]:
    """Return the sentences of texts that have a stored answer, each once."""
    found = list(dict.fromkeys(sentence for text in texts for sentence in sentences(text)))
    return [found[index] for index in np.flatnonzero(~np.isnan(stored.to(found)))]


def part(ids: Ids, generator: np.random.Generator) -> Ids:
    """Return a random part of a review, after the start id, often of the length of a sentence."""
    if generator.random() >= _SENTENCES:
        return crop(ids, generator)
    words = ids[1:]
    length = min(len(words), int(generator.integers(_SENTENCE.start, _SENTENCE.stop)))
    start = generator.integers(len(words) - length + 1)
    return np.concatenate([ids[:1], words[start : start + length]])
