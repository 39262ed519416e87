"""A trained model with its tokenizer and labels, from a run folder or from a Keras file and a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from sentiment_conv1d.artifact.configuration import BaseConfiguration
from sentiment_conv1d.artifact.decision import DecisionRule
from sentiment_conv1d.artifact.errors import first_fault
from sentiment_conv1d.artifact.explaining.network import QuantizedTables
from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.layers import Bank
from sentiment_conv1d.artifact.manifest import Metrics, TrainingData
from sentiment_conv1d.artifact.text_statistics import TextStatistics
from sentiment_conv1d.artifact.tokenizer import LibraryTokenizer, Tokenizer, WordLevelTokenizer
from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.sources.casting import check_ids
from sentiment_conv1d.export.sources.keras_files import Imported, import_model, load
from sentiment_conv1d.export.sources.original import Original, reading_ids
from sentiment_conv1d.export.sources.vectorization import output_length, own_standardization
from sentiment_conv1d.export.sources.vocabularies import (
    NOTHING_STATED,
    Asked,
    Statements,
    check_rows,
    graph_tokenizer,
    is_keras_file,
    read_vectorization,
    read_vocabulary,
    special_tokens,
    vectorization_tokenizer,
)
from sentiment_conv1d.model.data import TrainingTexts
from sentiment_conv1d.model.run import Inherited, Run


@dataclass(frozen=True)
class Trained:
    """A Keras model with its tokenizer and its labels."""

    model: keras.Model
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    configuration: BaseConfiguration | None = None
    metrics: Metrics | None = None
    trained_on: TrainingTexts | None = None  # None if not known
    notes: tuple[str, ...] = ()  # what the import changed in the model
    decision: DecisionRule = field(default_factory=DecisionRule)
    statistics: TextStatistics | None = None  # of the texts of `metrics`
    data: TrainingData | None = None  # None if not known
    original: Original | None = None  # the model before the import, if it reads texts
    special_tokens: tuple[str, ...] = ()  # which the original tokenizer finds in texts, and `tokenizer` does not
    inherited: Inherited | None = None  # of the artifact that the training started with
    was_half: bool = False  # whether the model in the file computes in half precision or has such weights
    kept: tuple[tuple[Bank, QuantizedTables], ...] = ()  # its filters if the training kept them and they are 8-bit

    @property
    def input_shape(self) -> InputShape:
        """The input of the Keras model, which pads every text to `max_tokens`."""
        return InputShape.of(self.tokenizer)

    def predict(self, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Run the Keras model: int32 [batch, max_tokens] -> float32 [batch, outputs]."""
        return np.asarray(self.model.predict_on_batch(tokens), np.float32)


def from_run(run: Run) -> Trained:
    """Load the network of a run. Raises `ExportError`."""
    return Trained(
        load(run.weights_file),
        run.tokenizer,
        run.configuration.labels,
        run.configuration,
        run.metrics,
        run.trained_on,
        decision=run.decision,
        statistics=run.statistics,
        data=run.data,
        inherited=run.inherited,
        kept=run.kept_banks(),
    )


def from_keras_file(
    path: Path,
    labels: tuple[str, ...],
    vocabulary: Path | None,
    statements: Statements = NOTHING_STATED,
    *,
    from_logits: bool = False,
    several_labels: bool = False,
) -> Trained:
    """Read any other Keras model over ids, with its vocabulary in one of the forms of `export.sources.vocabularies`.

    The vocabulary of a model that reads text is read from the model. If the model returns logits, a softmax is added,
    or sigmoids for one unit and for `several_labels` of a text. Raises `ExportError`.
    """
    try:
        BaseConfiguration(labels=labels)
    except ValidationError as error:
        raise ExportError(f"--labels: {first_fault(error)}", "state two labels or more, separated by commas") from error
    layer = None if vocabulary is None or not is_keras_file(vocabulary) else read_vectorization(vocabulary)
    max_tokens = _max_tokens(statements, layer)
    imported = import_model(path, max_tokens, from_logits=from_logits, several_labels=several_labels)
    if imported.vectorization is not None and vocabulary is not None:
        raise ExportError(
            f"{path}: the model's vocabulary is in its layer {imported.vectorization.name}", "leave --vocabulary out"
        )
    if imported.preprocessing is not None and vocabulary is not None:
        raise ExportError(f"{path}: the model's vocabulary is in its graph", "leave --vocabulary out")
    if imported.vectorization is None and imported.preprocessing is None and vocabulary is None:
        raise ExportError(
            f"{path}: the model reads ids, and no file says which word has which id",
            "pass the vocabulary with --vocabulary; docs/own-models.md lists the forms it can have",
        )
    asked = Asked(imported.max_tokens, imported.embedding_rows, statements)
    original = imported.original
    tokenizer: Tokenizer
    special: tuple[str, ...] = ()
    if imported.vectorization is not None:
        tokenizer = vectorization_tokenizer(imported.vectorization, asked)
    elif imported.preprocessing is not None:
        tokenizer = graph_tokenizer(path, imported.preprocessing, asked)
    elif layer is not None:
        tokenizer = vectorization_tokenizer(layer, asked)
        original = _separate(imported, layer, statements)
    else:
        assert vocabulary is not None
        tokenizer = read_vocabulary(vocabulary, asked)
        special = special_tokens(vocabulary, tokenizer)
    check_rows(vocabulary or path, tokenizer, asked)
    check_ids(path, imported.id_types, tokenizer.vocabulary_size)
    notes = list(imported.notes)
    if isinstance(tokenizer, LibraryTokenizer):
        notes.append("the library `tokenizers` reads texts: install the `subwords` extra where you serve the model")
    if isinstance(tokenizer, WordLevelTokenizer) and tokenizer.unreachable:
        shown = ", ".join(map(repr, tokenizer.unreachable[:3]))
        notes.append(f"{len(tokenizer.unreachable):,} words of the vocabulary can never be found in a text: {shown}")
    return Trained(
        imported.model,
        tokenizer,
        labels,
        notes=tuple(notes),
        original=original,
        special_tokens=special,
        was_half=imported.was_half,
    )


def _max_tokens(statements: Statements, layer: Any) -> int | None:
    """Return the sequence length that the user or a separate `TextVectorization` layer states."""
    stated, own = statements.max_tokens, None if layer is None else output_length(layer)
    if stated is not None and own is not None and stated != own:
        raise ExportError(
            f"--max-tokens: layer {layer.name} returns {own} ids, not {stated}",
            "leave the flag out: the layer states the sequence length",
        )
    return own or stated


def _separate(imported: Imported, layer: Any, statements: Statements) -> Original | None:
    """Return what the model answers to the ids of a separate layer; None if something between them is not known."""
    if own_standardization(layer) is not None:
        return None
    if output_length(layer) is None and (statements.changes or imported.any_length.inputs[0].shape[1] is not None):
        return None
    return reading_ids(imported.any_length, layer)


def renamed(trained: Trained, labels: tuple[str, ...]) -> Trained:
    """Return the same model with other names for its labels, in the same order. Raises `ExportError`."""
    if len(labels) != len(trained.labels):
        raise ExportError(
            f"--labels: {len(labels)} names for the {len(trained.labels)} labels {', '.join(trained.labels)}",
            "state one name for each label, separated by commas, in the order of the labels",
        )
    if trained.configuration is None:
        return replace(trained, labels=labels)
    try:
        configuration = trained.configuration.changed(labels=labels)
    except ValidationError as error:
        raise ExportError(f"--labels: {first_fault(error)}", "state different names, separated by commas") from error
    names = dict(zip(trained.labels, labels, strict=True))
    return replace(
        trained,
        labels=labels,
        configuration=configuration,
        decision=trained.decision.renamed(names),
        metrics=trained.metrics and trained.metrics.renamed(names),
        statistics=trained.statistics and trained.statistics.renamed(names),
        data=trained.data and trained.data.renamed(names),
    )
