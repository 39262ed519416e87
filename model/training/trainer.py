"""Train on labelled texts and write the run folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from pydantic import ValidationError

from sentiment_conv1d.artifact.errors import first_fault
from sentiment_conv1d.artifact.explaining.attribution import explain_words
from sentiment_conv1d.artifact.explaining.network import from_keras
from sentiment_conv1d.artifact.manifest import TrainingData
from sentiment_conv1d.artifact.text_statistics import TextStatistics
from sentiment_conv1d.model.data import Plan, TrainingTexts, Use, write_faults
from sentiment_conv1d.model.evaluation import plots
from sentiment_conv1d.model.evaluation.evaluation import Evaluation
from sentiment_conv1d.model.run import (
    BAD_ROWS_FILE,
    CONFIGURATION_FILE,
    DATA_FILE,
    DECISION_FILE,
    HISTORY_FILE,
    INHERITED_FILE,
    KEPT_FILE,
    KERAS_FILE,
    METRICS_FILE,
    PLOTS_FOLDER,
    REPORT_FILE,
    STATISTICS_FILE,
    TOKENIZER_FILE,
    TRAINING_TEXTS_FILE,
    Run,
    RunError,
    ensure_free,
    staging,
    write_json,
)
from sentiment_conv1d.model.training import initial
from sentiment_conv1d.model.training.fitting import TrainingError
from sentiment_conv1d.model.training.pretrained import Pretrained
from sentiment_conv1d.model.training.recipes import Trained, follow
from sentiment_conv1d.model.training.report import report_html
from sentiment_conv1d.model.training.results import Results, measure
from sentiment_conv1d.model.training.task import Task


def train(
    task: Task,
    recipe: Callable[[Task], Trained] = follow,
    *,
    segment_column: str | None = None,
    shipped: Mapping[str, Evaluation] = MappingProxyType({}),
    list_bad_rows: bool = False,
) -> Results:
    """Train with a recipe, evaluate and write the run folder, which appears when it is complete.

    Every epoch writes a checkpoint next to the run folder, from which the same training continues. The checkpoint is
    removed at the end. `segment_column` is the column that the data was read with, and `shipped` are the
    evaluations of shipped models on the test texts. With `list_bad_rows`, the run folder lists the rows that were left
    out of the data.

    Returns the measures of the test texts. Raises `RunError` if the folder cannot be written or the checkpoint is of
    another training, `DataError` if the vectors cannot be read, and `TrainingError`. If the folder cannot be written
    after the training, the run goes to a temporary folder, which the error names.
    """
    started = time.perf_counter()
    task = _checked(task)
    ensure_free(task.out, task.overwrite)
    _set_seed(task.configuration.seed)
    trained = recipe(task)
    results = measure(task.work, trained, segment_column, shipped)
    write = partial(_write, task, trained, results, list_bad_rows, time.perf_counter() - started)
    try:
        with staging(task.out, task.overwrite) as folder:
            write(folder)
    except RunError as error:
        rescued = _rescue(write, task.out.name)
        if rescued is None:
            raise
        raise RunError(f"{error}; the run is in {rescued} instead: move it to where it belongs") from error
    trained.stages.remove()
    return results


def _rescue(write: Callable[[Path], None], name: str) -> Path | None:
    """Write a run to a temporary folder, and return its path; None if that cannot be written either."""
    home = Path(mkdtemp(prefix="sentiment-conv1d-"))
    try:
        with staging(home / name) as folder:
            write(folder)
    except RunError:
        shutil.rmtree(home, ignore_errors=True)
        return None
    return home / name


def _write(task: Task, trained: Trained, results: Results, list_bad_rows: bool, seconds: float, folder: Path) -> None:
    """Write all files of a run."""
    _write_model(folder, task, trained)
    _write_measures(folder, task.work, trained, results)
    if list_bad_rows and task.work.faults:
        write_faults(folder / BAD_ROWS_FILE, task.work.faults)
    report = report_html(
        task,
        trained,
        results,
        explain=partial(explain_words, from_keras(trained.model, trained.configuration), trained.tokenizer),
        plots=plots.write(folder / PLOTS_FOLDER, results.network, trained.history),
        libraries=_libraries(),
        seconds=seconds,
    )
    (folder / REPORT_FILE).write_text(report, encoding="utf-8")


def _checked(task: Task) -> Task:
    """Return the task with the labels of its texts in the configuration. Raises `TrainingError`."""
    several: dict[str, Any] = {"multilabel": True, "calibration": "none"} if task.work.train.labels.ndim == 2 else {}
    try:
        configuration = task.configuration.changed(labels=task.work.label_names, **several)
    except ValidationError as error:
        raise TrainingError(first_fault(error)) from error
    if configuration.needs_validation and task.work.validation is None:
        raise TrainingError("this configuration needs held-out texts: --validation-fraction must be above 0")
    if task.start is not None:
        if task.embeddings is not None:
            raise TrainingError("the run to start from has word vectors, so pretrained ones cannot be used")
        if isinstance(task.start, Run):
            initial.check(task.start, configuration)
    return replace(task, configuration=configuration)


def _set_seed(seed: int) -> None:
    """Make the training give the same weights whenever it is repeated."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def _write_model(folder: Path, task: Task, trained: Trained) -> None:
    """Write the network, how it is used, and what it was trained on."""
    trained.model.save(folder / KERAS_FILE)
    (folder / TOKENIZER_FILE).write_text(trained.tokenizer.to_json(), encoding="utf-8")
    write_json(folder / CONFIGURATION_FILE, trained.configuration.model_dump(mode="json"))
    write_json(folder / DECISION_FILE, trained.decision.model_dump())
    _used_texts(task.work, trained.start).write(folder / TRAINING_TEXTS_FILE)
    write_json(folder / DATA_FILE, _data(trained.use, trained.start).model_dump())
    if trained.start is not None and trained.start.inherited is not None:
        inherited = trained.start.inherited.model_copy(update={"is_kept": trained.use.keeps_start})
        write_json(folder / INHERITED_FILE, inherited.model_dump())
    if isinstance(trained.start, Pretrained) and trained.use.keeps_start:
        shutil.copyfile(trained.start.weights_file, folder / KEPT_FILE)


def _write_measures(folder: Path, work: Plan, trained: Trained, results: Results) -> None:
    """Write the history, the metrics, and statistics of the test texts if there are any."""
    write_json(folder / HISTORY_FILE, trained.history)
    metrics = results.metrics(work.test_source)
    write_json(folder / METRICS_FILE, None if metrics is None else metrics.model_dump())
    evaluation = results.network
    if evaluation is not None:
        assert work.test is not None and work.test_source is not None
        encodings = [trained.tokenizer.encode(text) for text in work.test.texts]
        statistics = TextStatistics.measured(
            work.test_source, evaluation.label_names, evaluation.outputs, trained.decision, encodings
        )
        write_json(folder / STATISTICS_FILE, statistics.model_dump(mode="json"))


def _data(use: Use, start: Run | Pretrained | None) -> TrainingData:
    return TrainingData(
        source=use.learned_source,
        labels={each.label: each.learned for each in use.counts()},
        started_from=None if start is None else start.title,
    )


def _used_texts(work: Plan, start: Run | Pretrained | None) -> TrainingTexts:
    """Return the texts that the model depends on, including those of the run that the training started from."""
    used = TrainingTexts.of(work.used_texts)
    return used if start is None or start.trained_on is None else used | start.trained_on


def _libraries() -> dict[str, str]:
    """Return the versions of the libraries that affect the weights."""
    # Not by `importlib.metadata`: TensorFlow's CPU build is another distribution.
    return {module.__name__: module.__version__ for module in (tf, keras, np)}
