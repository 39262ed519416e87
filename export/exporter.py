"""Export a trained model: write the graphs, compare them, and publish the artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow
from pydantic import ValidationError

from sentiment_conv1d.export.checks.accuracy import check_accuracy, check_shift, measure
from sentiment_conv1d.export.checks.parity import Answers, Ids, Reviews, compare, compare_forms, generated, session
from sentiment_conv1d.export.checks.quantization_error import (
    Graphs,
    LabelledReviews,
    measure_accuracy,
    measure_difference,
)
from sentiment_conv1d.export.errors import ExportError, quoted
from sentiment_conv1d.export.graphs.folded import folded_graph
from sentiment_conv1d.export.graphs.quantized import quantized_graph
from sentiment_conv1d.export.graphs.reference import reference_graph
from sentiment_conv1d.export.recognition.family import Family, recognise
from sentiment_conv1d.export.sources.keras_files import import_model, load
from sentiment_conv1d.export.sources.vocabularies import (
    NOTHING_STATED,
    Asked,
    Statements,
    read_vocabulary,
    vectorization_tokenizer,
)
from sentiment_conv1d.model.artifact import Artifact, Golden, Metrics, ParityCheck, Sample, publish
from sentiment_conv1d.model.configuration import Configuration
from sentiment_conv1d.model.data import TrainingTexts
from sentiment_conv1d.model.decision import DecisionRule
from sentiment_conv1d.model.input_shape import InputShape
from sentiment_conv1d.model.run import first_fault, read_run
from sentiment_conv1d.model.tokenizer import Tokenizer

#: Whoever loads the artifact must get the answer to this text that the manifest states before serving anything.
GOLDEN_TEXT = (
    "A quiet, beautifully acted film. The first hour takes its time, but the ending is one of the best I've seen, "
    "and I'd gladly watch it again!"
)

#: How far float32 may take a probability out of [0, 1], or the sum of a row away from 1.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Trained:
    """A Keras model with its tokenizer and its labels."""

    model: keras.Model
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    configuration: Configuration | None = None
    metrics: Metrics | None = None
    trained_on: TrainingTexts | None = None  # None if nobody knows
    notes: tuple[str, ...] = ()  # what was changed when the model was imported
    decision: DecisionRule = field(default_factory=DecisionRule)

    @property
    def input_shape(self) -> InputShape:
        """The ids that Keras' network reads: padded in full."""
        return InputShape.of(self.tokenizer)

    @property
    def golden_ids(self) -> Ids:
        """The ids of `GOLDEN_TEXT`."""
        return self.tokenizer.encode(GOLDEN_TEXT).ids

    def predict(self, tokens: Ids) -> Answers:
        """Keras' own answers: int32 [batch, max_tokens] -> float32 [batch, outputs]."""
        return np.asarray(self.model.predict_on_batch(tokens), np.float32)


@dataclass(frozen=True)
class Exported:
    """A published artifact; `unfolded` says why its graph is not the folded one, if it is not."""

    artifact: Artifact
    unfolded: str
    warnings: tuple[str, ...] = ()


def from_run(path: Path) -> Trained:
    """What `python -m model train` wrote. Raises `RunError`."""
    run = read_run(path)
    return Trained(
        load(run.keras_file),
        run.tokenizer,
        run.configuration.labels,
        run.configuration,
        run.metrics,
        run.trained_on,
        decision=run.decision,
    )


def renamed(trained: Trained, labels: tuple[str, ...]) -> Trained:
    """The same model with other names for its labels, in the same order. Raises `ExportError`."""
    if len(labels) != len(trained.labels):
        raise ExportError(
            f"--labels: {len(labels)} names for the {len(trained.labels)} labels {', '.join(trained.labels)}",
            "state one name for each label, separated by commas, in the order of the labels",
        )
    if trained.configuration is None:
        return replace(trained, labels=labels)
    try:
        configuration = Configuration.model_validate(trained.configuration.model_dump() | {"labels": labels})
    except ValidationError as error:
        raise ExportError(f"--labels: {first_fault(error)}", "state different names, separated by commas") from error
    return replace(trained, labels=labels, configuration=configuration)


def from_keras_file(
    path: Path, labels: tuple[str, ...], vocabulary: Path | None, statements: Statements = NOTHING_STATED
) -> Trained:
    """Any other Keras model over ids, with its vocabulary in one of the forms of `export.sources.vocabularies`.

    A model with a `TextVectorization` layer has its vocabulary in it. Raises `ExportError`.
    """
    try:
        Configuration(labels=labels)
    except ValidationError as error:
        raise ExportError(f"--labels: {first_fault(error)}", "state two labels or more, separated by commas") from error
    imported = import_model(path, statements.max_tokens)
    if imported.vectorization is not None and vocabulary is not None:
        raise ExportError(
            f"{path}: layer {imported.vectorization.name} of the model holds its vocabulary", "leave --vocabulary out"
        )
    asked = Asked(imported.max_tokens, imported.embedding_rows, statements)
    if imported.vectorization is not None:
        tokenizer = vectorization_tokenizer(imported.vectorization, asked)
    elif vocabulary is not None:
        tokenizer = read_vocabulary(vocabulary, asked)
    else:
        raise ExportError(
            f"{path}: the model reads ids, and nothing says which word has which",
            "--vocabulary names the file that does; docs/own-models.md lists its forms",
        )
    return Trained(imported.model, tokenizer, labels, notes=imported.notes)


def export(
    trained: Trained,
    name: str,
    repository: Path,
    reviews: Sequence[Reviews] = (),
    *,
    quantize: bool = False,
    labelled: LabelledReviews | None = None,
    allow_poor_accuracy: bool = False,
    samples: tuple[Sample, ...] = (),
) -> Exported:
    """Write the graphs, prove that they answer as Keras does, and publish the next version of the artifact.

    With `quantize`, the 8-bit form of the graph is published if it is close enough to the float32 form: see
    `export.checks.quantization_error`. The accuracy of the published graph is measured on `labelled`. `samples` are
    texts that anyone may see.

    Raises `ExportError` if the model is not a classifier over the tokenizer's ids, has no 8-bit form, or is no better
    on `labelled` than the most frequent label, unless `allow_poor_accuracy`; `ParityError` if an answer differs,
    `QuantizationError` if 8 bits cost too much, and `ArtifactError` if the repository cannot be
    written to. None of them leaves anything behind.
    """
    made_up = generated(trained.input_shape)
    activation = _checked_activation(trained, made_up)
    family, unfolded = recognise(trained.model, trained.tokenizer.max_tokens, trained.tokenizer.padding_id)
    if quantize and family is None:
        raise ExportError(
            f"only a model of the Conv1D family has an 8-bit form: {unfolded}", "export it without --quantize"
        )

    reference = reference_graph(trained.model, trained.input_shape.max_tokens).SerializeToString()
    graph = reference if family is None else folded_graph(family).SerializeToString()
    widths = () if family is None else tuple(bank.width for bank in family.banks)
    shape = replace(trained.input_shape, leading_padding=family.leading_padding if family else None)

    threshold = trained.decision.threshold
    sets = [*reviews, made_up]
    checks = compare(trained.predict, session(reference), session(graph), sets, shape, threshold)
    fields: dict[str, Any] = {
        "metrics": trained.metrics,
        "parity": tuple(checks),
        "golden": _golden(trained.predict(trained.input_shape.pad([trained.golden_ids]))),
    }
    if labelled is not None:
        fields["metrics"] = measure(session(graph), labelled, trained.labels, shape, threshold)
    if quantize:
        assert family is not None
        graph, fields = _quantized(trained, family, shape, graph, checks, sets, labelled)
    warnings: tuple[str, ...] = ()
    if labelled is not None:
        if not allow_poor_accuracy:
            check_accuracy(fields["metrics"], labelled)
        if trained.configuration is None:
            warnings = tuple(check_shift(session(graph), labelled, trained.labels, shape, fields["metrics"]))
    artifact = publish(
        repository,
        {
            "name": name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "labels": trained.labels,
            "activation": activation,
            "max_tokens": shape.max_tokens,
            "vocabulary_size": shape.vocabulary_size,
            "convolution_widths": widths,
            "leading_padding": shape.leading_padding,
            "configuration": trained.configuration,
            "decision": trained.decision,
            "samples": samples,
            "libraries": _libraries(),
            **fields,
        },
        graph,
        trained.tokenizer,
    )
    return Exported(artifact, unfolded, warnings)


def _quantized(
    trained: Trained,
    family: Family,
    shape: InputShape,
    float32: bytes,
    checks: Sequence[ParityCheck],
    reviews: Sequence[Reviews],
    labelled: LabelledReviews | None,
) -> tuple[bytes, dict[str, Any]]:
    """The 8-bit graph, and the fields of its manifest.

    `float32` is the graph that passed `checks`; the last of `reviews` are the generated ids.
    """
    graph = quantized_graph(family).SerializeToString()
    quantized = session(graph)
    threshold = trained.decision.threshold
    forms = compare_forms(quantized, reviews, shape, threshold)
    graphs = Graphs(session(float32), quantized, shape, threshold)
    errors = [measure_difference(graphs, reviews[-1])]
    metrics = None
    if labelled is not None:
        measured, metrics = measure_accuracy(graphs, labelled, trained.labels)
        errors.append(measured)
    return graph, {
        "precision": "uint8",
        "metrics": metrics,
        "parity": (*checks, *forms),
        "rounding": tuple(errors),
        "golden": _golden(quantized(shape.pad([trained.golden_ids]))),
    }


def _golden(answers: Answers) -> Golden:
    return Golden(text=GOLDEN_TEXT, probabilities=tuple(answers[0].tolist()))


def _checked_activation(trained: Trained, made_up: Reviews) -> str:
    """`sigmoid` or `softmax`, by what the model really answers."""
    # A subclass of `keras.Model` and a `Sequential` that was never built have neither.
    inputs: list[Any] = getattr(trained.model, "inputs", [])
    outputs: list[Any] = getattr(trained.model, "outputs", [])
    if len(inputs) != 1 or len(outputs) != 1:
        raise ExportError(
            f"the model has {len(inputs)} inputs and {len(outputs)} outputs that Keras knows of instead of one",
            "build it with keras.Input and one output",
        )
    shape: tuple[int | None, ...] = inputs[0].shape
    if len(shape) != 2 or shape[1] not in (None, trained.tokenizer.max_tokens):
        raise ExportError(
            f"the model must take ids [batch, {trained.tokenizer.max_tokens}] as the tokenizer makes them, not {shape}",
            "use the tokenizer that the model was trained with",
        )
    try:
        answers = trained.predict(trained.input_shape.pad(made_up.rows))
    except Exception as error:
        raise ExportError(
            f"the model does not take all {trained.tokenizer.vocabulary_size} ids of the tokenizer: {quoted(error)}",
            "use the vocabulary that the model was trained with, or --num-words to leave out rare words",
        ) from error
    last = trained.model.layers[-1].name
    labels = len(trained.labels)
    columns = 1 if labels == 2 and answers.ndim == 2 and answers.shape[1] == 1 else labels
    if answers.ndim != 2 or answers.shape[1] != columns:
        raise ExportError(
            f"{labels} labels do not go with answers of shape {answers.shape}",
            "--labels names one label a unit of the last layer, or two for a single unit",
        )
    if np.isnan(answers).any():
        raise ExportError("the model answers with NaN", "train it again, with a smaller learning rate")
    if not (np.all(answers >= -_ROUNDING) and np.all(answers <= 1 + _ROUNDING)):
        raise ExportError(f"layer {last} does not answer with probabilities", "end the model in a sigmoid or a softmax")
    if columns > 1 and not np.allclose(answers.sum(axis=1), 1, atol=_ROUNDING):
        raise ExportError(f"the probabilities of layer {last} do not sum to 1", "end the model in a softmax")
    return "sigmoid" if columns == 1 else "softmax"


def _libraries() -> dict[str, str]:
    return {
        "tensorflow": tensorflow.__version__,
        "keras": keras.__version__,
        "tf2onnx": version("tf2onnx"),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }
