"""The recipes: how a network is trained with a configuration, and what a training leaves behind.

A recipe is a function of a `Task` that returns a `Trained`. Those of the shipped models are in `research`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.tokenizer import Tokenizer, VocabularyTokenizer, learn
from sentiment_conv1d.model.data import Examples, Plan, Use, use_of
from sentiment_conv1d.model.evaluation import multilabel
from sentiment_conv1d.model.evaluation.calibration import at_temperature
from sentiment_conv1d.model.evaluation.evaluation import Floats
from sentiment_conv1d.model.evaluation.multilabel import Measured
from sentiment_conv1d.model.evaluation.trained import encode, predict
from sentiment_conv1d.model.run import Run
from sentiment_conv1d.model.training import initial, network
from sentiment_conv1d.model.training.averaging import average
from sentiment_conv1d.model.training.checkpoint import Stages
from sentiment_conv1d.model.training.decision_rule import choose_rule
from sentiment_conv1d.model.training.embeddings import Vectors, read_vectors
from sentiment_conv1d.model.training.fitting import Progress, TrainingError, fit
from sentiment_conv1d.model.training.kept import Kept
from sentiment_conv1d.model.training.pretrained import Pretrained
from sentiment_conv1d.model.training.task import Task


@dataclass(frozen=True)
class Trained:
    """The result of a recipe."""

    configuration: BaseConfiguration  # with the embedding width of the pretrained vectors
    model: keras.Model
    tokenizer: VocabularyTokenizer
    use: Use  # of the texts of the task
    decision: DecisionRule
    evaluation: Measured | None  # None without test texts
    history: dict[str, Any]
    stages: Stages
    best_epoch: int = 0
    vectors: str = ""  # a description of the pretrained vectors
    start: Run | Pretrained | None = None  # whose weights it started with
    held_out_loss: float = math.inf  # the log loss of the texts that decided
    baseline_texts: Examples | None = None  # that the baseline learns; None for all that the network was given
    rejected: Trained | None = None  # the other one of two trainings, whose held-out loss is higher

    @property
    def title(self) -> str:
        """What the network is called beside others."""
        if isinstance(self.start, Pretrained):
            return f"continued from {self.start.title}"
        return "your network"


def follow(task: Task) -> Trained:
    """Train with the recipe of a `Configuration`. Raises as `model.training.trainer.train` does."""
    if task.configuration.recipe == "labels":
        return _fitted(task)
    if task.embeddings is not None:
        raise TrainingError("an ensemble cannot use pretrained vectors: pass --preset text-cnn")
    stages = task.stages()
    if task.shipped is None:
        return _averaged(task, stages)
    anew = _averaged(task, stages)
    start = replace(task, start=task.shipped, configuration=task.shipped.continued(task.configuration))
    continued = _averaged(start, stages, "continued-")
    better, worse = sorted((anew, continued), key=lambda trained: trained.held_out_loss)
    return replace(better, rejected=worse)


def _fitted(task: Task) -> Trained:
    """Train with the recipe `labels`: Keras fits the network to the labels."""
    work = task.work
    tokenizer = learn(task.configuration, work.train.texts, () if task.start is None else task.start.tokenizer.words)
    vectors = None if task.embeddings is None else read_vectors(task.embeddings, tokenizer.words)
    if vectors is not None:
        configuration = task.configuration.model_copy(update={"embedding_width": vectors.width})
        task = replace(task, configuration=configuration)
    stages = task.stages()
    model, reached = _fit(task, tokenizer, vectors, stages)
    held_out = None if work.validation is None else predict(model, tokenizer, work.validation.texts)
    use = use_of(task.configuration, work)
    decision = choose_rule(task.configuration, use, held_out)
    network.divide_logits(model, decision.temperature)
    return Trained(
        configuration=task.configuration,
        model=model,
        tokenizer=tokenizer,
        use=use,
        decision=decision,
        evaluation=evaluated(work, lambda texts: predict(model, tokenizer, texts, task.progress), decision),
        history=reached.history,
        stages=stages,
        best_epoch=reached.best_epoch,
        vectors=_describe(vectors, tokenizer),
        start=task.start,
    )


def _averaged(task: Task, stages: Stages, name: str = "") -> Trained:
    """Train with the recipe `ensemble`. `name` is part of the names of its stages."""
    work = task.work
    use = use_of(task.configuration, work, continues_run=isinstance(task.start, Run))
    averaged = average(task, stages, use, name)
    use = replace(use, keeps_start=isinstance(averaged.network, Kept))
    configuration = averaged.network.configured(task.configuration)
    decision = choose_rule(configuration, use, averaged.held_out)
    model = network.of_tables(configuration, averaged.network.tables, *averaged.network.dense)
    network.divide_logits(model, decision.temperature)
    return Trained(
        configuration=configuration,
        model=model,
        tokenizer=averaged.tokenizer,
        use=use,
        decision=decision,
        evaluation=evaluated(
            work, lambda texts: at_temperature(averaged.predict(texts), decision.temperature), decision
        ),
        history=averaged.history.document,
        stages=stages,
        best_epoch=averaged.best_epoch,
        start=task.start,
        held_out_loss=averaged.loss,
    )


def evaluated(work: Plan, predict: Callable[[list[str]], Floats], decision: DecisionRule) -> Measured | None:
    """Evaluate a network, whose outputs for texts `predict` returns, on the test texts if there are any."""
    if work.test is None:
        return None
    return multilabel.evaluated(work.label_names, work.test.labels, predict(work.test.texts), decision)


def _fit(task: Task, tokenizer: Tokenizer, vectors: Vectors | None, stages: Stages) -> tuple[keras.Model, Progress]:
    """Fit the network, and return it with the progress."""
    configuration, work = task.configuration, task.work
    model = network.build(configuration, tokenizer.vocabulary_size)
    if vectors is not None:
        network.set_vectors(model, vectors)
    if task.start is not None:
        assert isinstance(task.start, Run)  # an artifact is continued with the other recipe
        initial.set_weights(model, task.start, configuration.labels)
    train = (encode(tokenizer, work.train.texts), work.train.labels)
    validation = None
    if work.validation is not None:
        validation = (encode(tokenizer, work.validation.texts), work.validation.labels)
    try:
        return model, fit(model, configuration, train, validation, stages, show_progress=task.progress)
    except TrainingError:
        stages.remove()
        raise


def _describe(vectors: Vectors | None, tokenizer: VocabularyTokenizer) -> str:
    """Describe the pretrained vectors for the report; an empty string if there are none."""
    return "" if vectors is None else f"{len(vectors.rows):,} of {len(tokenizer.words):,} words of {vectors.source}"
