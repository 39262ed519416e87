"""Train on labelled texts and write the run folder; load and evaluate the trained model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.random import default_rng
from pydantic import ValidationError

from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.data import Examples, Plan, TrainingTexts, profile, write_faults
from sentiment_conv1d.model.decision import DecisionRule
from sentiment_conv1d.model.evaluation import plots
from sentiment_conv1d.model.evaluation.baseline import measure_baseline
from sentiment_conv1d.model.evaluation.calibration import at_temperature
from sentiment_conv1d.model.evaluation.confidence import confident_values
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.evaluation.report import report_html
from sentiment_conv1d.model.evaluation.trained import encode, evaluate
from sentiment_conv1d.model.explaining.words import explain_words
from sentiment_conv1d.model.manifest import Metrics, TrainingData
from sentiment_conv1d.model.run import (
    BAD_ROWS_FILE,
    CONFIGURATION_FILE,
    DATA_FILE,
    DECISION_FILE,
    HISTORY_FILE,
    KERAS_FILE,
    METRICS_FILE,
    PLOTS_FOLDER,
    REPORT_FILE,
    STATISTICS_FILE,
    TOKENIZER_FILE,
    TRAINING_TEXTS_FILE,
    Run,
    checkpointed_epochs,
    ensure_free,
    first_fault,
    stages_folder,
    staging,
    write_json,
)
from sentiment_conv1d.model.text_statistics import TextStatistics
from sentiment_conv1d.model.tokenizer import Tokenizer, learn
from sentiment_conv1d.model.training import initial, network
from sentiment_conv1d.model.training.checkpoint import Checkpoints, Progress, fingerprint
from sentiment_conv1d.model.training.decision_rule import choose_rule
from sentiment_conv1d.model.training.distillation import Texts, distill
from sentiment_conv1d.model.training.embeddings import Vectors, read_vectors
from sentiment_conv1d.model.training.ensemble.averaging import average
from sentiment_conv1d.model.training.fitting import TrainingError, fit, history
from sentiment_conv1d.model.training.mixture import distill_mixture
from sentiment_conv1d.model.training.stages import Stages


class Measured(NamedTuple):
    """A trained network and its baseline on the test texts; None without test texts, or if there is no baseline."""

    network: Evaluation | None
    baseline: Evaluation | None
    decision: DecisionRule


@dataclass(frozen=True)
class _Trained:
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


def train(
    configuration: Configuration,
    work: Plan,
    out: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    embeddings: Path | None = None,
    start: Run | None = None,
    list_bad_rows: bool = False,
    progress: bool = False,
) -> Measured:
    """Train, evaluate and write the run folder `out`, which appears when it is complete.

    Every epoch writes a checkpoint next to the run folder, from which a training with `resume` continues if there is
    one. The checkpoint is removed at the end. Other recipes than `labels` continue without `resume`. `embeddings` is a
    file of pretrained word vectors, and `start` a run whose weights the training starts with. With `list_bad_rows`, the
    run folder lists the rows that were left out of the data.

    Returns the evaluation on the test texts, and that of the baseline. Raises `RunError` if the folder cannot be
    written or the checkpoint is of another training, `DataError` if the vectors cannot be read, and `TrainingError`.
    """
    started = time.perf_counter()
    configuration = _with_labels(configuration, work.label_names)
    if configuration.needs_validation and work.validation is None:
        raise TrainingError("this configuration needs held-out texts: --validation-fraction must be above 0")
    if start is not None:
        if embeddings is not None:
            raise TrainingError("the run to start from has word vectors, so pretrained ones cannot be used")
        initial.check(start, configuration)
    ensure_free(out, overwrite)
    keras.utils.set_random_seed(configuration.seed)
    tf.config.experimental.enable_op_determinism()
    if configuration.recipe == "labels":
        trained = _trained(
            configuration, work, out, embeddings, start, overwrite=overwrite, resume=resume, show=progress
        )
    elif embeddings is not None:
        raise TrainingError(f"the recipe {configuration.recipe} cannot use pretrained vectors: pass --preset text-cnn")
    elif configuration.recipe == "ensemble":
        trained = _averaged(configuration, work, out, progress)
    else:
        trained = _distilled(configuration, work, out, progress)
    evaluation = trained.evaluation
    baseline = None
    if work.test is not None:
        characters = trained.tokenizer.cuts_characters
        baseline = measure_baseline(work.label_names, _learned(configuration, work), work.test, characters=characters)
    with staging(out, overwrite) as folder:
        trained.model.save(folder / KERAS_FILE)
        (folder / TOKENIZER_FILE).write_text(trained.tokenizer.to_json(), encoding="utf-8")
        _used_texts(work, start).write(folder / TRAINING_TEXTS_FILE)
        write_json(folder / CONFIGURATION_FILE, trained.configuration.model_dump(mode="json"))
        write_json(folder / HISTORY_FILE, trained.history)
        metrics = None if evaluation is None else _metrics(evaluation, baseline, work, trained.decision).model_dump()
        write_json(folder / METRICS_FILE, metrics)
        if evaluation is not None:
            statistics = _statistics(evaluation, work, trained.tokenizer)
            write_json(folder / STATISTICS_FILE, statistics.model_dump(mode="json"))
        write_json(folder / DECISION_FILE, trained.decision.model_dump())
        write_json(folder / DATA_FILE, _data(work, start).model_dump())
        if list_bad_rows and work.faults:
            write_faults(folder / BAD_ROWS_FILE, work.faults)
        images = plots.write(folder / PLOTS_FOLDER, evaluation, trained.history)
        report = report_html(
            title=f"{configuration.name}: training report",
            configuration=trained.configuration,
            data=work.source,
            validation_data=work.validation_source,
            test_data=work.test_source,
            profile=profile(work, trained.tokenizer),
            vectors=trained.vectors,
            start="" if start is None else str(start.path),
            evaluation=evaluation,
            baseline=baseline,
            texts=() if work.test is None else work.test.texts,
            explain=partial(explain_words, network.arrays(trained.model, trained.configuration), trained.tokenizer),
            decision=trained.decision,
            history=trained.history,
            best_epoch=trained.best_epoch,
            libraries=libraries(),
            parameters=trained.model.count_params(),
            seconds=time.perf_counter() - started,
            plots=images,
            vocabulary_size=trained.tokenizer.vocabulary_size,
        )
        (folder / REPORT_FILE).write_text(report, encoding="utf-8")
    trained.checkpoints.remove()
    return Measured(evaluation, baseline, trained.decision)


def _trained(
    configuration: Configuration,
    work: Plan,
    out: Path,
    embeddings: Path | None,
    start: Run | None,
    *,
    overwrite: bool,
    resume: bool,
    show: bool,
) -> _Trained:
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
    return _Trained(
        configuration=configuration,
        model=model,
        tokenizer=tokenizer,
        decision=decision,
        evaluation=evaluation,
        history=history(reached),
        checkpoints=checkpoints,
        best_epoch=reached.best_epoch,
        vectors=_describe(vectors, tokenizer),
    )


def _averaged(configuration: Configuration, work: Plan, out: Path, show: bool) -> _Trained:
    """Train with the recipe `ensemble`."""
    configuration = configuration.model_copy(update={"embedding_width": network.table_width(configuration)})
    stages = Stages(stages_folder(out), fingerprint(configuration, work))
    averaged = average(configuration, work.train, work.validation, stages, show)
    decision = choose_rule(configuration, work, averaged.held_out)
    model = network.of_tables(configuration, averaged.ensemble.tables, *averaged.ensemble.dense)
    network.divide_logits(model, decision.temperature)
    evaluation = None
    if work.test is not None:
        outputs = at_temperature(averaged.predict(work.test.texts), decision.temperature)
        evaluation = Evaluation(work.label_names, work.test.labels, outputs, decision.threshold)
    return _Trained(
        configuration=configuration,
        model=model,
        tokenizer=averaged.tokenizer,
        decision=decision,
        evaluation=evaluation,
        history=averaged.history,
        checkpoints=stages,
        best_epoch=averaged.best_epoch,
    )


def _learned(configuration: Configuration, work: Plan) -> Examples:
    """Return the labelled texts that the network has learned: an ensemble learns the held-out ones at the end."""
    if work.sampling is not None:
        return work.train.take(work.sampling.labelled(default_rng(configuration.seed)))
    if configuration.recipe == "ensemble" and work.validation is not None:
        return work.train.joined(work.validation)
    return work.train


def _distilled(configuration: Configuration, work: Plan, out: Path, show: bool) -> _Trained:
    """Train with the recipe `distillation` or `mixture`, which calibrates the probabilities itself."""
    assert work.validation is not None
    stages = Stages(stages_folder(out), fingerprint(configuration, work))
    texts = Texts(work.train, work.unlabelled, work.validation)
    if work.sampling is None:
        distilled = distill(configuration, texts, stages, show)
    else:
        distilled = distill_mixture(configuration, texts, work.sampling, stages, show)
    student = distilled.student
    decision = choose_rule(configuration, work, distilled.predict(work.validation.texts))
    decision = decision.model_copy(update={"chosen_on": work.validation_source})
    evaluation = None
    if work.test is not None:
        outputs = distilled.predict(work.test.texts)
        evaluation = Evaluation(work.label_names, work.test.labels, outputs, decision.threshold)
    return _Trained(
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


def _data(work: Plan, start: Run | None) -> TrainingData:
    counts = np.bincount(work.train.labels, minlength=len(work.label_names)).tolist()
    return TrainingData(
        source=work.source,
        labels=dict(zip(work.label_names, counts, strict=True)),
        started_from=None if start is None else start.path.name,
    )


def _used_texts(work: Plan, start: Run | None) -> TrainingTexts:
    """Return the texts that the model depends on, including those of the run that the training started from."""
    used = TrainingTexts.of(work.used_texts)
    return used if start is None or start.trained_on is None else used | start.trained_on


def _describe(vectors: Vectors | None, tokenizer: Tokenizer) -> str:
    """Describe the pretrained vectors for the report; an empty string if there are none."""
    return "" if vectors is None else f"{len(vectors.rows):,} of {len(tokenizer.words):,} words of {vectors.source}"


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that affect the weights."""
    # Not by `importlib.metadata`: TensorFlow's CPU build is another distribution.
    return {module.__name__: module.__version__ for module in (tf, keras, np)}


def _with_labels(configuration: Configuration, labels: tuple[str, ...]) -> Configuration:
    try:
        return Configuration.model_validate(configuration.model_dump() | {"labels": labels})
    except ValidationError as error:
        raise TrainingError(first_fault(error)) from error


def _metrics(evaluation: Evaluation, baseline: Evaluation | None, work: Plan, decision: DecisionRule) -> Metrics:
    assert work.test_source is not None
    others = confident_values(evaluation, decision)
    if baseline is not None:
        others |= {"baseline_accuracy": baseline.accuracy, "baseline_log_loss": baseline.log_loss}
    return evaluation.metrics(work.test_source, others)


def _statistics(evaluation: Evaluation, work: Plan, tokenizer: Tokenizer) -> TextStatistics:
    assert work.test is not None and work.test_source is not None
    encodings = [tokenizer.encode(text) for text in work.test.texts]
    return TextStatistics.measured(
        work.test_source, evaluation.label_names, evaluation.outputs, evaluation.threshold, encodings
    )
