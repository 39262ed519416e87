"""The recipes: how a network is trained with a configuration, and what a training leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from pydantic import ValidationError

from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.data import Plan
from sentiment_conv1d.model.decision import DecisionRule
from sentiment_conv1d.model.evaluation.calibration import at_temperature
from sentiment_conv1d.model.evaluation.evaluation import Evaluation, Floats
from sentiment_conv1d.model.evaluation.trained import encode, evaluate
from sentiment_conv1d.model.run import Run, checkpointed_epochs, first_fault, stages_folder
from sentiment_conv1d.model.tokenizer import Tokenizer, learn
from sentiment_conv1d.model.training import initial, network
from sentiment_conv1d.model.training.checkpoint import Checkpoints, Progress, fingerprint
from sentiment_conv1d.model.training.decision_rule import choose_rule
from sentiment_conv1d.model.training.distillation import Texts, distill
from sentiment_conv1d.model.training.embeddings import Vectors, read_vectors
from sentiment_conv1d.model.training.ensemble.averaging import Averaged, average, choose
from sentiment_conv1d.model.training.fitting import TrainingError, fit, history
from sentiment_conv1d.model.training.mixture import MixtureDistillation
from sentiment_conv1d.model.training.stages import Stages


@dataclass(frozen=True)
class Trained:
    """The result of a recipe."""

    configuration: Configuration  # with the embedding width of the pretrained vectors
    model: keras.Model
    tokenizer: Tokenizer
    decision: DecisionRule
    evaluation: Evaluation | None  # None without test texts
    history: dict[str, Any]
    checkpoints: Checkpoints | Stages
    best_epoch: int = 0
    vectors: str = ""  # a description of the pretrained vectors
    held_out: Floats | None = None  # outputs for the held-out texts before calibration, of the recipe `labels`


def follow(
    configuration: Configuration,
    work: Plan,
    out: Path,
    embeddings: Path | None,
    start: Run | None,
    *,
    overwrite: bool,
    resume: bool,
    show: bool,
) -> Trained:
    """Train with the recipe of a configuration. Checkpoints are written next to `out`.

    Raises as `model.training.trainer.train` does.
    """
    set_seed(configuration.seed)
    if configuration.recipe == "labels":
        return _fitted(configuration, work, out, embeddings, start, overwrite=overwrite, resume=resume, show=show)
    if embeddings is not None:
        raise TrainingError(f"the recipe {configuration.recipe} cannot use pretrained vectors: pass --preset text-cnn")
    if configuration.recipe == "ensemble":
        return _averaged(configuration, work, out, start, show)
    return _distilled(configuration, work, out, show)


def set_seed(seed: int) -> None:
    """Make the next training give the same weights whenever it is repeated."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def with_labels(configuration: Configuration, labels: tuple[str, ...]) -> Configuration:
    """Return a configuration with the labels of the texts. Raises `TrainingError`."""
    try:
        return Configuration.model_validate(configuration.model_dump() | {"labels": labels})
    except ValidationError as error:
        raise TrainingError(first_fault(error)) from error


def held_out_outputs(
    configuration: Configuration, work: Plan, out: Path, embeddings: Path | None, start: Run | None, show: bool
) -> Floats:
    """Train on the training texts only, and return the outputs for the held-out texts, which are not calibrated.

    The recipe is `labels` or `ensemble`. Checkpoints are written next to `out`. Raises `TrainingError`.
    """
    assert work.validation is not None
    set_seed(configuration.seed)
    if configuration.recipe == "ensemble":
        stages = Stages(stages_folder(out), "search")
        earlier = None if start is None else initial.read_ensemble(start, configuration.labels)
        found: Averaged | Trained = choose(configuration, work.train, work.validation, stages, show, earlier)
    else:
        untested = replace(work, test=None, test_source=None)
        found = _fitted(configuration, untested, out, embeddings, start, overwrite=True, resume=False, show=show)
    assert found.held_out is not None
    return found.held_out


def _fitted(
    configuration: Configuration,
    work: Plan,
    out: Path,
    embeddings: Path | None,
    start: Run | None,
    *,
    overwrite: bool,
    resume: bool,
    show: bool,
) -> Trained:
    """Train with the recipe `labels`: Keras fits the network to the labels."""
    tokenizer = learn(configuration, work.train.texts, () if start is None else start.tokenizer.words)
    vectors = None if embeddings is None else read_vectors(embeddings, tokenizer.words)
    if vectors is not None:
        configuration = configuration.model_copy(update={"embedding_width": vectors.width})
    weights = "" if start is None else initial.digest(start)
    checkpoints = Checkpoints(out, fingerprint(configuration, work, weights))
    resume = resume and bool(checkpointed_epochs(out))
    if not resume:
        checkpoints.start(overwrite)
    model, reached = _fit(configuration, tokenizer, vectors, start, work, checkpoints, resume=resume, show=show)
    held_out = None
    if work.validation is not None:
        held_out = evaluate(model, tokenizer, work.label_names, work.validation, False).outputs
    decision = choose_rule(configuration, work, held_out)
    network.divide_logits(model, decision.temperature)
    evaluation = None
    if work.test is not None:
        evaluation = evaluate(model, tokenizer, work.label_names, work.test, show, decision.threshold)
    return Trained(
        configuration=configuration,
        model=model,
        tokenizer=tokenizer,
        decision=decision,
        evaluation=evaluation,
        history=history(reached),
        checkpoints=checkpoints,
        best_epoch=reached.best_epoch,
        vectors=_describe(vectors, tokenizer),
        held_out=held_out,
    )


def _averaged(configuration: Configuration, work: Plan, out: Path, start: Run | None, show: bool) -> Trained:
    """Train with the recipe `ensemble`."""
    configuration = configuration.model_copy(update={"embedding_width": network.table_width(configuration)})
    weights = "" if start is None else initial.digest(start)
    stages = Stages(stages_folder(out), fingerprint(configuration, work, weights))
    earlier = None if start is None else initial.read_ensemble(start, configuration.labels)
    averaged = average(configuration, work.train, work.validation, stages, show, earlier)
    decision = choose_rule(configuration, work, averaged.held_out)
    model = network.of_tables(configuration, averaged.ensemble.tables, *averaged.ensemble.dense)
    network.divide_logits(model, decision.temperature)
    evaluation = None
    if work.test is not None:
        outputs = at_temperature(averaged.predict(work.test.texts), decision.temperature)
        evaluation = Evaluation(work.label_names, work.test.labels, outputs, decision.threshold)
    return Trained(
        configuration=configuration,
        model=model,
        tokenizer=averaged.tokenizer,
        decision=decision,
        evaluation=evaluation,
        history=averaged.history,
        checkpoints=stages,
        best_epoch=averaged.best_epoch,
    )


def _distilled(configuration: Configuration, work: Plan, out: Path, show: bool) -> Trained:
    """Train with the recipe `distillation` or `mixture`, which calibrates the probabilities itself."""
    assert work.validation is not None
    stages = Stages(stages_folder(out), fingerprint(configuration, work))
    texts = Texts(work.train, work.unlabelled, work.validation)
    weights = None
    if work.sampling is None:
        distilled = distill(configuration, texts, stages, show)
    else:
        weights = work.sampling.held_out_weights(work.validation.labels)
        distilled = MixtureDistillation(configuration, texts, work.sampling, work.answers, stages, show).run()
    student = distilled.student
    decision = choose_rule(configuration, work, distilled.predict(work.validation.texts), weights)
    decision = decision.model_copy(update={"chosen_on": work.validation_source})
    evaluation = None
    if work.test is not None:
        outputs = distilled.predict(work.test.texts)
        evaluation = Evaluation(work.label_names, work.test.labels, outputs, decision.threshold)
    return Trained(
        configuration=configuration,
        model=network.of_tables(configuration, student.tables, student.weights[:, np.newaxis], student.bias),
        tokenizer=distilled.tokenizer,
        decision=decision,
        evaluation=evaluation,
        history=distilled.history,
        checkpoints=stages,
    )


def _fit(
    configuration: Configuration,
    tokenizer: Tokenizer,
    vectors: Vectors | None,
    start: Run | None,
    work: Plan,
    checkpoints: Checkpoints,
    *,
    resume: bool,
    show: bool,
) -> tuple[keras.Model, Progress]:
    """Fit the network, and return it with the progress."""
    if resume:
        model, progress, best = checkpoints.load()
    else:
        model, progress, best = network.build(configuration, tokenizer.vocabulary_size), Progress(), None
        if vectors is not None:
            network.set_vectors(model, vectors)
        if start is not None:
            initial.set_weights(model, start, configuration.labels)
    train = (encode(tokenizer, work.train.texts), work.train.labels)
    validation = None
    if work.validation is not None:
        validation = (encode(tokenizer, work.validation.texts), work.validation.labels)
    try:
        fit(model, configuration, train, validation, checkpoints, progress, best, show_progress=show)
    except TrainingError:
        checkpoints.remove()
        raise
    return model, progress


def _describe(vectors: Vectors | None, tokenizer: Tokenizer) -> str:
    """Describe the pretrained vectors for the report; an empty string if there are none."""
    return "" if vectors is None else f"{len(vectors.rows):,} of {len(tokenizer.words):,} words of {vectors.source}"
