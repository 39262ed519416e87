"""The recipe of the model `reviews`: a student learns texts of several domains, and another model's answers to them.

In every epoch, the student reads a sample with as many texts of each label of a domain, so that it does not learn which
domain is mostly positive, or neutral. It learns the labels, mixed with the stored answers of models that are too slow
to serve. It also learns the answers alone, to other labelled texts, to texts without a label, and to sentences of
texts, so that it also knows short texts. A text without a stored answer is learned by its label.

The answers need not say whether a text is neutral. Few long reviews are, and a short text is assumed to be as often
neutral as texts with about as clear an opinion. A domain can have a teacher, a published model with two labels, which
decides with the answers which opinion a text without a label has.

Held-out texts decide the scale of the logits, and the bias of `neutral`: a fixed share of the opinions is lost to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit

from research import student
from research.mixture.added_emojis import AddedEmojis
from research.mixture.domains import MixturePlan
from research.mixture.labels import LABELS, NEGATIVE, NEUTRAL, POSITIVE, UNLABELLED
from research.mixture.sampling import Sampling
from research.mixture.sentences import is_short, sentences
from research.mixture.stored_answers import StoredAnswers
from research.mixture.vocabulary import check_keys, with_keys
from research.student import HeldOut, Lesson, Lessons
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer, learn
from sentiment_conv1d.commands.default_repository import SHIPPED
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.model.data.examples import Examples
from sentiment_conv1d.model.training.fitting import TrainingError
from sentiment_conv1d.model.training.recipes import Trained
from sentiment_conv1d.model.training.task import Task

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

#: The share of the stored answers in the probabilities that are learned of labelled texts.
_STORED_SHARE = 0.5

#: The share of the teacher of a domain in the log-odds of the opinion.
_TEACHER_SHARE = 0.6

#: Probabilities of a teacher closer to 0 or 1 would have very large log-odds.
_CLOSEST = 1e-4

#: With this bias, the model that answered whether texts are neutral loses 5 % of held-out opinions.
_NEUTRAL_BIAS = 1.0

#: The groups of short texts with about as clear an opinion.
_GROUPS = 20

#: The probability of `neutral` of a long text, if the answers do not say, and if it is labelled so.
_NEUTRAL, _LABELLED_NEUTRAL = 0.04, 0.5

#: The share of held-out texts with an opinion that the student answers with `neutral`, if domains count the same.
_LOST_OPINIONS = 0.055

#: The number that seeds the generator of the vocabulary.
_VOCABULARY = 10


def distill_mixture(task: Task) -> Trained:
    """Train with the recipe `mixture`. The texts of the task are those of a `MixturePlan`."""
    work, configuration = task.work, task.configuration
    assert isinstance(work, MixturePlan) and work.validation is not None
    stages = task.stages(work.digest())
    tokenizer = _tokenizer(task)
    held_out = HeldOut(
        [encoding.ids for encoding in tokenizer.encode_batch(work.validation.texts)],
        np.eye(len(LABELS), dtype=np.float32)[work.validation.labels],
    )
    trained = student.train(task, stages, tokenizer, _lessons(task, tokenizer), held_out)
    labels, sampling = work.validation.labels, work.sampling
    factor, offset = calibration(
        trained.logits(held_out.ids), labels, sampling.held_out_weights(labels), sampling.held_out_opinions(labels)
    )
    trained.network.scale(factor, offset)
    trained.network.centre()
    sample = work.train.take(sampling.labelled(np.random.default_rng(configuration.seed)))
    weights = sampling.held_out_weights(labels)
    return student.outcome(task, stages, trained, baseline_texts=sample, weights=weights)


def _tokenizer(task: Task) -> VocabularyTokenizer:
    """Return a tokenizer with the most frequent words of what an epoch reads, and the key words of typed texts.

    Raises `TrainingError` if a hand-written text has an unknown key word.
    """
    work, configuration = task.work, task.configuration
    assert isinstance(work, MixturePlan)
    known = [*work.train.texts, *work.unlabelled]
    generator = np.random.default_rng((configuration.seed, _VOCABULARY))
    drawn = np.concatenate([work.sampling.labelled(generator), work.sampling.unlabelled(generator)])
    tokenizer = learn(configuration, [known[index] for index in drawn])
    if work.words is not None:
        tokenizer = with_keys(configuration, tokenizer, work.words.keys())
    check_keys(tokenizer, work.written)
    return tokenizer


def _lessons(task: Task, tokenizer: VocabularyTokenizer) -> Lessons:
    work = task.work
    assert isinstance(work, MixturePlan)
    known = [*work.train.texts, *work.unlabelled]
    found = answered_sentences(known, work.answers)
    ids = [encoding.ids for encoding in tokenizer.encode_batch([*known, *found])]
    labels = np.concatenate([work.sampling.labels, np.full(len(found), UNLABELLED)])
    neutral, opinion = work.answers.to([*known, *found]).T
    neutral += _NEUTRAL_BIAS
    short = np.array([is_short(text) for text in [*known, *found]])
    neutral[short] = with_means(neutral[short], opinion[short])
    unknown = np.isnan(neutral) & ~short
    neutral[unknown] = logit(np.where(labels[unknown] == NEUTRAL, _LABELLED_NEUTRAL, _NEUTRAL))
    for index, name in enumerate(work.sampling.names):
        if (teacher := work.sampling.mixture.amount(name).teacher) is not None:
            own = (work.sampling.domains == index) & (work.sampling.labels == UNLABELLED)
            taught = np.flatnonzero(own & ~np.isnan(opinion[: len(known)]))
            log_odds = teacher_log_odds(teacher, [known[place] for place in taught])
            opinion[taught] += _TEACHER_SHARE * (log_odds - opinion[taught])
    answers = shares(neutral, opinion)
    truth = np.eye(len(LABELS), dtype=np.float32)[work.train.labels]
    mixed = truth + _STORED_SHARE * (answers[: len(truth)] - truth)
    learned = np.concatenate([np.where(np.isnan(mixed), truth, mixed), answers[len(truth) :]])
    targets = np.concatenate([learned, answers])
    added = AddedEmojis.of(work.words, work.sampling.mixture.emojis)
    return _Texts(
        tokenizer, work.sampling, work.train, added, ids, targets, len(known), task.configuration.word_dropout
    )


def shares(neutral: Floats, opinion: Floats) -> Floats:
    """Return probabilities, float32 [texts, labels], from log-odds of `neutral` and of `positive` against `negative`.

    Both are float32 [texts].
    """
    has_one = expit(-neutral)
    return np.stack([has_one * expit(-opinion), expit(neutral), has_one * expit(opinion)], axis=1)


@dataclass(frozen=True)
class _Texts(Lessons):
    """A sample of the texts in an epoch, without some of their words, so that no single word decides."""

    tokenizer: VocabularyTokenizer
    sampling: Sampling
    train: Examples  # the labelled texts
    added: AddedEmojis  # to labelled texts; the answers are those to the texts without them
    ids: list[Ids]  # of labelled texts, of those without a label, and of sentences of both
    targets: Floats  # [2 * texts, labels]: labels mixed with answers, then the answers alone
    whole: int  # the texts that are not sentences of others
    word_dropout: float

    @property
    def last_rate(self) -> float:
        last = self.sampling.mixture.last
        return 1 if last is None else last.rate

    def order(self, generator: np.random.Generator, *, is_last: bool) -> npt.NDArray[np.int64]:
        sampling, count = self.sampling.in_last_epoch() if is_last else self.sampling, len(self.ids)
        labelled = sampling.labelled(generator)
        others = sampling.others(labelled, generator) + count
        unlabelled = sampling.unlabelled(generator)
        found = generator.permutation(np.arange(self.whole, count))[: sampling.mixture.sentences]
        drawn = generator.permutation(np.concatenate([labelled, others, unlabelled, found]))
        return np.asarray(drawn[~np.isnan(self.targets[drawn, 0])])

    def lesson(self, place: int, generator: np.random.Generator) -> Lesson:
        ids = self._ids(place, generator)
        lost = generator.random(len(ids), np.float32) < self.word_dropout
        lost[:1] = False  # the start of the text
        assert self.tokenizer.unknown_id is not None  # of words
        return Lesson(np.where(lost, np.int32(self.tokenizer.unknown_id), ids), self.targets[place])

    def _ids(self, place: int, generator: np.random.Generator) -> Ids:
        """Return the ids of a text. Some of those that are learned with their labels get an emoji at their end."""
        if place < len(self.train):
            text = self.added.to(self.train.texts[place], int(self.train.labels[place]), generator)
            if text is not None:
                return self.tokenizer.encode(text).ids
        return self.ids[place % len(self.ids)]


def with_means(neutral: Floats, opinion: Floats) -> Floats:
    """Replace unknown log-odds of `neutral` by those of the mean probability of texts with as clear an opinion.

    Both are log-odds, float32 [texts], and NaN if unknown.
    """
    clearness, known = np.abs(opinion), ~np.isnan(neutral)
    if not known.any():
        return neutral
    groups = np.digitize(clearness, np.quantile(clearness[known], np.linspace(0, 1, _GROUPS + 1)[1:-1]))
    sums = np.bincount(groups[known], expit(neutral[known]), minlength=_GROUPS)
    means = sums / np.maximum(np.bincount(groups[known], minlength=_GROUPS), 1)
    found = np.where(known, neutral, logit(np.clip(means, _CLOSEST, 1 - _CLOSEST))[groups])
    return np.where(np.isnan(opinion), np.nan, found).astype(np.float32)


def answered_sentences(texts: Sequence[str], stored: StoredAnswers) -> list[str]:
    """Return the sentences of texts that have a stored answer, each once."""
    found = list(dict.fromkeys(sentence for text in texts for sentence in sentences(text)))
    return [found[index] for index in np.flatnonzero(~np.isnan(stored.to(found)[:, 1]))]


def teacher_log_odds(name: str, texts: Sequence[str]) -> Floats:
    """Return the log-odds of `positive`, float32 [texts], of the shipped model `NAME/VERSION`, which has two labels.

    Raises `ArtifactError` or `TrainingError`.
    """
    artifact = read_artifact(SHIPPED / name)
    if artifact.manifest.outputs != 1:
        raise TrainingError(f"{SHIPPED / name}: a teacher has two labels")
    classifier = Classifier(artifact)
    positive = np.array([each.probabilities[1] for each in classifier.predict(texts)], np.float64)
    return np.asarray(logit(np.clip(positive, _CLOSEST, 1 - _CLOSEST)), np.float32)


def calibration(
    logits: Floats, labels: npt.NDArray[np.int64], weights: Floats, opinions: Floats
) -> tuple[float, npt.NDArray[np.float64]]:
    """Return the factor and the offsets [labels] that calibrate logits, float32 [texts, labels], of held-out texts.

    `weights` say how much a text counts for the log loss, and `opinions` how much it counts among the opinions. A share
    of `_LOST_OPINIONS` of them is answered with `neutral`. Both are float32 [texts].
    """

    def loss(parameters: npt.NDArray[np.float64]) -> float:
        scaled = log_softmax(parameters[0] * logits + np.append(parameters[1:], 0), axis=1)
        return -float(np.average(scaled[np.arange(len(labels)), labels], weights=weights))

    factor, *offsets = minimize(loss, np.array([1.0, *np.zeros(len(LABELS) - 1)])).x
    offset = np.array([*offsets, 0.0])
    scaled = factor * logits + offset
    margins = np.maximum(scaled[:, NEGATIVE], scaled[:, POSITIVE]) - scaled[:, NEUTRAL]
    order = np.argsort(margins)
    lost = np.cumsum(opinions[order]) <= _LOST_OPINIONS * np.sum(opinions)
    offset[NEUTRAL] += margins[order][np.count_nonzero(lost)]
    return float(factor), offset
