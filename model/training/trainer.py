"""Train on labelled texts and write the run folder; load and evaluate the trained model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from pydantic import ValidationError

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.errors import first_fault
from sentiment_conv1d.artifact.explaining.attribution import explain_words
from sentiment_conv1d.artifact.explaining.network import from_keras
from sentiment_conv1d.artifact.manifest import Metrics, TrainingData
from sentiment_conv1d.artifact.text_statistics import TextStatistics
from sentiment_conv1d.artifact.tokenizer import Tokenizer
from sentiment_conv1d.model.data import Plan, TrainingTexts, profile, write_faults
from sentiment_conv1d.model.evaluation import plots
from sentiment_conv1d.model.evaluation.baseline import BASELINE, measure_baseline
from sentiment_conv1d.model.evaluation.confidence import confident_values
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.evaluation.report import report_html
from sentiment_conv1d.model.evaluation.segments import Segments, by_segment
from sentiment_conv1d.model.evaluation.terminal import value_lines
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
    ensure_free,
    staging,
    write_json,
)
from sentiment_conv1d.model.training import initial
from sentiment_conv1d.model.training.fitting import TrainingError
from sentiment_conv1d.model.training.recipes import Trained, follow
from sentiment_conv1d.model.training.task import Task


class Measured(NamedTuple):
    """A trained network and its baseline on the test texts; None without test texts, or if there is no baseline."""

    network: Evaluation | None
    baseline: Evaluation | None
    decision: DecisionRule
    segments: Segments | None = None  # of the test texts, if their column is known

    def lines(self, test_source: str | None) -> Iterator[str]:
        """Yield the measures as lines for a terminal. `test_source` describes the test texts."""
        if self.decision.calibration is not None:
            yield f"calibration: {self.decision.calibration.describe()}"
        if self.network is None:
            return
        yield f"measured on {test_source}:"
        yield from value_lines(self.network.values())
        if self.segments is not None:
            yield from self.segments.lines()
        if self.baseline is not None:
            yield f"{BASELINE} on the same texts:"
            yield from value_lines({"accuracy": self.baseline.accuracy, "log_loss": self.baseline.log_loss})
            if self.network.accuracy < self.baseline.accuracy:
                yield (
                    f"warning: {BASELINE} is right more often than this network: try --preset text-ensemble, more "
                    "--epochs or more --patience"
                )


def train(
    task: Task,
    recipe: Callable[[Task], Trained] = follow,
    *,
    segment_column: str | None = None,
    list_bad_rows: bool = False,
) -> Measured:
    """Train with a recipe, evaluate and write the run folder, which appears when it is complete.

    Every epoch writes a checkpoint next to the run folder, from which the same training continues. The checkpoint is
    removed at the end. `segment_column` is the column that the data was read with. With `list_bad_rows`, the run folder
    lists the rows that were left out of the data.

    Returns the measures of the test texts. Raises `RunError` if the folder cannot be written or the checkpoint is of
    another training, `DataError` if the vectors cannot be read, and `TrainingError`.
    """
    started = time.perf_counter()
    work, start = task.work, task.start
    configuration = _with_labels(task.configuration, work.label_names)
    if configuration.needs_validation and work.validation is None:
        raise TrainingError("this configuration needs held-out texts: --validation-fraction must be above 0")
    if start is not None:
        if task.embeddings is not None:
            raise TrainingError("the run to start from has word vectors, so pretrained ones cannot be used")
        initial.check(start, configuration)
    ensure_free(task.out, task.overwrite)
    _set_seed(configuration.seed)
    trained = recipe(replace(task, configuration=configuration))
    evaluation = trained.evaluation
    baseline = None
    if work.test is not None:
        characters = trained.tokenizer.cuts_characters
        baseline = measure_baseline(work.label_names, trained.learned, work.test, characters=characters)
    segments = None
    if evaluation is not None and segment_column is not None:
        assert work.test is not None
        segments = by_segment(evaluation, segment_column, [row.segment for row in work.test.rows])
    with staging(task.out, task.overwrite) as folder:
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
            model=trained.model,
            data=work.source,
            validation_data=work.validation_source,
            test_data=work.test_source,
            profile=profile(work, trained.tokenizer),
            vectors=trained.vectors,
            start="" if start is None else str(start.path),
            evaluation=evaluation,
            baseline=baseline,
            segments=segments,
            texts=() if work.test is None else work.test.texts,
            explain=partial(explain_words, from_keras(trained.model, trained.configuration), trained.tokenizer),
            decision=trained.decision,
            history=trained.history,
            best_epoch=trained.best_epoch,
            libraries=libraries(),
            seconds=time.perf_counter() - started,
            plots=images,
        )
        (folder / REPORT_FILE).write_text(report, encoding="utf-8")
    trained.stages.remove()
    return Measured(evaluation, baseline, trained.decision, segments)


def _set_seed(seed: int) -> None:
    """Make the training give the same weights whenever it is repeated."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def _with_labels(configuration: BaseConfiguration, labels: tuple[str, ...]) -> BaseConfiguration:
    """Return a configuration with the labels of the texts. Raises `TrainingError`."""
    try:
        return configuration.changed(labels=labels)
    except ValidationError as error:
        raise TrainingError(first_fault(error)) from error


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


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that affect the weights."""
    # Not by `importlib.metadata`: TensorFlow's CPU build is another distribution.
    return {module.__name__: module.__version__ for module in (tf, keras, np)}


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
