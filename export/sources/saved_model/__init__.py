"""SavedModels: one signature, whose graph contains operators of TensorFlow instead of layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow
from tensorflow.python.keras.optimizer_v2.optimizer_v2 import RestoredOptimizer  # has no public name
from tensorflow.python.saved_model import revived_types  # has no public name

from sentiment_conv1d.export.errors import ExportError, quoted
from sentiment_conv1d.export.sources.original import Original
from sentiment_conv1d.export.sources.saved_model.frozen import freeze
from sentiment_conv1d.export.sources.saved_model.inspection import check_operators
from sentiment_conv1d.export.sources.saved_model.network import network
from sentiment_conv1d.export.sources.saved_model.preprocessing import Preprocessing, preprocessing
from sentiment_conv1d.export.sources.saved_model.private_copy import private_copy

#: The signature that is read.
SIGNATURE = "serving_default"

#: The number of generated texts on which answers are compared.
_TEXTS = 3000

# TensorFlow does not load a SavedModel with the variables of an optimizer of Keras 2 unless its type is registered.
revived_types.register_revived_type(
    "optimizer",
    lambda _: False,
    [
        revived_types.VersionedTypeRegistration(
            lambda _: RestoredOptimizer(), 1, 1, 1, setter=RestoredOptimizer._set_hyper
        )
    ],
)


@dataclass(frozen=True)
class SavedModel:
    """A SavedModel with one input and one output."""

    path: Path
    copy: Path  # of the folder `path`, which was checked; exists until `open_saved_model` ends
    loaded: Any  # the variables and tables of the signature exist as long as this
    signature: Any
    input: Any  # tensorflow.TensorSpec
    name: str  # of the input

    @property
    def shape(self) -> list[int | None]:
        """The shape of the input for one text."""
        return [None] if self.input.shape.rank is None else list(self.input.shape)[1:]

    @property
    def reads_text(self) -> bool:
        """Whether the input is a text, instead of the ids of its words."""
        return bool(self.input.dtype == tensorflow.string)


@dataclass(frozen=True)
class TextModel:
    """The parts of a SavedModel that reads text."""

    preprocessing: Preprocessing
    model: keras.Model  # over ids
    original: Original


@contextmanager
def open_saved_model(path: Path) -> Iterator[SavedModel]:
    """Load a SavedModel.

    Raises `ExportError` if it contains an operator that does more than compute, or does not have one input and one
    output.
    """
    with private_copy(path) as copy:
        check_operators(path, copy)
        yield _load(path, copy)


def _load(path: Path, copy: Path) -> SavedModel:
    try:
        loaded = tensorflow.saved_model.load(str(copy))
        signature = loaded.signatures[SIGNATURE]
        inputs = signature.structured_input_signature[1]
    except Exception as error:
        message = repr(error).replace(str(copy), str(path))
        raise ExportError(
            f"{path}: not a SavedModel with the signature {SIGNATURE} ({quoted(message)})",
            "write it with `model.export(folder)` of Keras",
        ) from error
    if len(inputs) != 1 or len(signature.structured_outputs) != 1:
        raise ExportError(
            f"{path}: the SavedModel has {len(inputs)} inputs and {len(signature.structured_outputs)} outputs; it must "
            "have one of each",
            "export a model that reads one text, or the ids of one text, and returns probabilities",
        )
    [(name, read)] = inputs.items()
    if read.shape.rank and read.shape[0] is not None:
        raise ExportError(
            f"{path}: this SavedModel reads {read.shape[0]} texts at a time",
            "save it with a batch of any size: [None, ...]",
        )
    return SavedModel(path, copy, loaded, signature, read, name)


def read_text(saved: SavedModel) -> TextModel:
    """Separate the preprocessing of a SavedModel that reads text from its network. Raises `ExportError`."""
    graph = freeze(saved.signature)
    found = preprocessing(saved.path, graph)

    def shaped(texts: Any) -> Any:
        return texts[:, None] if saved.input.shape.rank == 2 else texts

    def run(texts: Any) -> Any:
        [answers] = saved.signature(**{saved.name: shaped(texts)}).values()
        return tensorflow.reshape(answers, [len(texts), -1])

    ids = graph.part(graph.input, found.ids)
    words = tuple(found.words)
    original = Original(
        run, lambda texts: ids(shaped(texts)), "the SavedModel", words, found.rule.max_tokens, texts=_TEXTS
    )
    return TextModel(found, network(graph, found.ids), original)
