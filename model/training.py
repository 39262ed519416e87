"""From labelled texts to a finished run folder."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from pydantic import ValidationError
from tqdm import tqdm

from sentiment_conv1d.model import network, plots
from sentiment_conv1d.model.artifact import Metrics
from sentiment_conv1d.model.checkpoints import Checkpoints
from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.data import Dataset, Examples, split
from sentiment_conv1d.model.distillation import Texts, distill
from sentiment_conv1d.model.errors import SentimentError
from sentiment_conv1d.model.evaluation import Evaluation
from sentiment_conv1d.model.input_shape import InputShape
from sentiment_conv1d.model.report import report_html
from sentiment_conv1d.model.run import (
    CONFIGURATION_FILE,
    HISTORY_FILE,
    KERAS_FILE,
    METRICS_FILE,
    PLOTS_FOLDER,
    REPORT_FILE,
    TOKENIZER_FILE,
    Run,
    RunError,
    first_fault,
    staging,
    write_json,
)
from sentiment_conv1d.model.tokenizer import Tokenizer, WordTokenizer

LIBRARIES = ("tensorflow", "keras", "numpy")

#: Training batches whose running means make one point of the learning curves.
BATCHES_PER_POINT = 50


class TrainingError(SentimentError):
    """A training that cannot start with these labels, or whose loss is no longer finite."""


@dataclass(frozen=True)
class Plan:
    """What a run trains and measures on. `source` and `test_source` say in words where the texts come from."""

    label_names: tuple[str, ...]
    train: Examples
    validation: Examples | None
    test: Examples | None
    source: str
    test_source: str | None
    unlabelled: tuple[str, ...] = ()


def plan(dataset: Dataset, *, test_fraction: float, validation_fraction: float, seed: int) -> Plan:
    """Hold out what is not there yet: test texts if the data has none of its own, validation texts if asked for."""
    train, test, test_source = dataset.train, dataset.test, dataset.test_source
    validation = None
    if test is None and test_fraction > 0:
        train, test = split(train, test_fraction, seed)
        test_source = f"{len(test.texts):,} held out of {dataset.source}"
    if validation_fraction > 0:
        train, validation = split(train, validation_fraction, seed + 1)
    return Plan(dataset.label_names, train, validation, test, dataset.source, test_source, dataset.unlabelled)


def train(configuration: Configuration, work: Plan, out: Path, *, overwrite: bool, progress: bool) -> Evaluation | None:
    """Train, measure and write the run folder `out`, which appears only when it is complete.

    Returns the evaluation on the test texts, None if there are none. Raises `RunError` if the folder cannot be written,
    and `TrainingError`.
    """
    configuration = _with_labels(configuration, work.label_names)
    with staging(out, overwrite) as folder:
        started = time.perf_counter()
        keras.utils.set_random_seed(configuration.seed)
        tf.config.experimental.enable_op_determinism()
        fit = _distilled if configuration.recipe == "distillation" else _trained
        model, tokenizer, history, evaluation = fit(configuration, work, out, progress)
        model.save(folder / KERAS_FILE)
        (folder / TOKENIZER_FILE).write_text(tokenizer.to_json(), encoding="utf-8")
        write_json(folder / CONFIGURATION_FILE, configuration.model_dump(mode="json"))
        write_json(folder / HISTORY_FILE, history)
        write_json(folder / METRICS_FILE, None if evaluation is None else _metrics(evaluation, work).model_dump())
        images = write_plots(folder / PLOTS_FOLDER, evaluation, history)
        report = report_html(
            title=f"{configuration.name}: training report",
            configuration=configuration,
            data=work.source,
            test_data=work.test_source,
            evaluation=evaluation,
            history=history,
            libraries=libraries(),
            parameters=model.count_params(),
            seconds=time.perf_counter() - started,
            plots=images,
            vocabulary_size=tokenizer.vocabulary_size,
        )
        (folder / REPORT_FILE).write_text(report, encoding="utf-8")
    return evaluation


#: A network, how it reads, the history of its training, and its evaluation on the test texts, if there are any.
_Fitted = tuple[keras.Model, Tokenizer, dict[str, Any], Evaluation | None]


def _trained(configuration: Configuration, work: Plan, out: Path, progress: bool) -> _Fitted:
    tokenizer = WordTokenizer.from_texts(work.train.texts, configuration.vocabulary_size, configuration.max_tokens)
    model = network.build(configuration, tokenizer.vocabulary_size)
    history = _fit(model, configuration, tokenizer, work, progress)
    evaluation = None if work.test is None else evaluate(model, tokenizer, work.label_names, work.test, progress)
    return model, tokenizer, history, evaluation


def _distilled(configuration: Configuration, work: Plan, out: Path, progress: bool) -> _Fitted:
    """Checkpoints are kept in a hidden folder next to `out` until the training is complete."""
    if work.validation is None:
        raise TrainingError(f"{configuration.name} needs held-out texts: set --validation-fraction, to 0.04 for IMDB")
    texts = Texts(work.train, work.unlabelled, work.validation)
    identity = [configuration.model_dump_json(), *work.train.texts, *map(str, work.train.labels), *work.unlabelled]
    checkpoints = Checkpoints(out.with_name(f".{out.name}-checkpoints"), identity)
    distilled = distill(configuration, texts, checkpoints, progress)
    evaluation = None
    if work.test is not None:
        evaluation = Evaluation(work.label_names, work.test.labels, distilled.predict(work.test.texts))
    model = network.of_student(configuration, distilled.student)
    checkpoints.remove()
    return model, distilled.tokenizer, distilled.history, evaluation


def load(run: Run) -> keras.Model:
    """The trained network of a run. Raises `RunError`."""
    try:
        return keras.models.load_model(run.keras_file, compile=False)
    except Exception as error:
        # A broken file surfaces as whatever zipfile, h5py or a layer's constructor raise.
        raise RunError(f"{run.keras_file}: not a Keras model that can be loaded ({error})") from error


def encode(tokenizer: Tokenizer, texts: list[str]) -> npt.NDArray[np.int32]:
    """Texts as the network reads them: int32 [texts, max_tokens]."""
    return InputShape.of(tokenizer).pad([encoding.ids for encoding in tokenizer.encode_batch(texts)])


def evaluate(
    model: keras.Model, tokenizer: Tokenizer, label_names: tuple[str, ...], examples: Examples, progress: bool
) -> Evaluation:
    """The network's answers on labelled texts, 512 at a time."""
    tokens = encode(tokenizer, examples.texts)
    blocks = [
        model.predict_on_batch(tokens[start : start + 512])
        for start in tqdm(range(0, len(tokens), 512), desc="evaluating", unit="batch", disable=not progress)
    ]
    return Evaluation(label_names, examples.labels, np.concatenate(blocks))


def write_plots(folder: Path, evaluation: Evaluation | None, history: dict[str, Any] | None) -> dict[str, bytes]:
    """Write every plot there is data for; returns the PNG files by name."""
    folder.mkdir()
    figures = {} if history is None else {"learning_curves": plots.learning_curves(history)}
    if evaluation is not None:
        figures |= {
            "roc": plots.roc(evaluation),
            "calibration": plots.calibration(evaluation),
            "confusion": plots.confusion(evaluation),
        }
    images = {}
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        plots.save(figure, path)
        images[name] = path.read_bytes()
    return images


def libraries() -> dict[str, str]:
    """Versions of what decides the numbers. The CPU build of TensorFlow goes by another distribution name."""
    found = {}
    for name in LIBRARIES:
        module = {"tensorflow": tf, "keras": keras}.get(name)
        found[name] = module.__version__ if module is not None else version(name)
    return found


def _with_labels(configuration: Configuration, labels: tuple[str, ...]) -> Configuration:
    try:
        return Configuration.model_validate(configuration.model_dump() | {"labels": labels})
    except ValidationError as error:
        raise TrainingError(first_fault(error)) from error


def _fit(
    model: keras.Model, configuration: Configuration, tokenizer: Tokenizer, work: Plan, progress: bool
) -> dict[str, Any]:
    validation = None
    if work.validation is not None:
        validation = (encode(tokenizer, work.validation.texts), work.validation.labels)
    recorder = _Recorder(configuration, len(work.train), progress)
    with recorder.bar:
        model.fit(
            encode(tokenizer, work.train.texts),
            work.train.labels,
            batch_size=configuration.batch_size,
            epochs=configuration.epochs,
            validation_data=validation,
            shuffle=True,
            verbose=0,
            callbacks=[recorder],
        )
    return {"steps": recorder.steps, "epochs": recorder.epochs}


def _metrics(evaluation: Evaluation, work: Plan) -> Metrics:
    assert work.test_source is not None
    return Metrics(
        measured_on=work.test_source,
        examples=len(evaluation.labels),
        values={k: float(v) for k, v in evaluation.values().items()},
    )


class _Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """The progress bar, and the history that the learning curves are drawn from.

    Keras reports means over the epoch so far; points are the means between two of those.
    """

    def __init__(self, configuration: Configuration, examples: int, progress: bool) -> None:
        super().__init__()
        self.steps: list[dict[str, float]] = []
        self.epochs: list[dict[str, float]] = []
        self._batch_size = configuration.batch_size
        self._examples = examples
        self._batches = -(-examples // configuration.batch_size)  # in an epoch
        self._step = 0
        total = configuration.epochs * self._batches
        self.bar = tqdm(desc="training", unit="batch", total=total, disable=not progress)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._started = time.perf_counter()
        self._last_point = np.zeros(3)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None
        if not math.isfinite(logs["loss"]):
            raise TrainingError(f"the training went astray in step {self._step + 1}: try a smaller --learning-rate")
        self._step += 1
        self.bar.update()
        self.bar.set_postfix(loss=f"{logs['loss']:.4f}", accuracy=f"{logs['accuracy']:.4f}", refresh=False)
        if (batch + 1) % BATCHES_PER_POINT == 0 or batch + 1 == self._batches:
            seen = min((batch + 1) * self._batch_size, self._examples)  # the last batch may be smaller
            point = seen * np.array([1, logs["loss"], logs["accuracy"]])
            count, loss, accuracy = (point - self._last_point).tolist()
            self.steps.append({"step": self._step, "loss": loss / count, "accuracy": accuracy / count})
            self._last_point = point

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None
        names = {"val_loss": "validation_loss", "val_accuracy": "validation_accuracy"}
        row = {names.get(name, name): float(value) for name, value in logs.items()}
        self.epochs.append({"epoch": epoch + 1, **row, "seconds": time.perf_counter() - self._started})
