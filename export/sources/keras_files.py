"""Keras models from elsewhere: a `.keras` or `.h5` file or a SavedModel, as a float32 model over ids of a fixed length.

The graphs that this project serves compute in float32, so weights of other types are cast. A `TextVectorization` layer
is removed, because the service tokenizes texts itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import keras

from sentiment_conv1d.export.errors import ExportError, quoted
from sentiment_conv1d.export.recognition.connections import (
    HALF,
    embeddings,
    half_precision,
    id_types,
    last_layer,
    layers,
)
from sentiment_conv1d.export.sources.casting import copy_in_float32, grouped, largest_difference, other_types
from sentiment_conv1d.export.sources.keras_2 import check_activations, check_masks, readable
from sentiment_conv1d.export.sources.keras_configuration import functions
from sentiment_conv1d.export.sources.load_errors import load_error
from sentiment_conv1d.export.sources.original import Original, reading_ids, reading_texts
from sentiment_conv1d.export.sources.saved_model import SIGNATURE, SavedModel, open_saved_model, read_text
from sentiment_conv1d.export.sources.saved_model.preprocessing import Preprocessing
from sentiment_conv1d.export.sources.saved_model.private_copy import GRAPHS
from sentiment_conv1d.export.sources.vectorization import check_supported, not_run, own_standardization

#: What to do with a model whose `TextVectorization` layer cannot be separated.
_WITHOUT_LAYER = "export the part of the model that starts with the embedding, with --vocabulary"


@dataclass(frozen=True)
class Imported:
    """A model over ids, what made ids from text if there was anything, and what the import changed."""

    model: keras.Model
    any_length: keras.Model  # the same model, over ids of every length that the model in the file takes
    vectorization: Any  # keras.layers.TextVectorization or None
    preprocessing: Preprocessing | None  # in the graph of a SavedModel that reads text
    original: Original | None  # the model in the file, if it reads text
    id_types: set[str]  # to which Keras casts the ids
    was_half: bool  # whether the model in the file computes in half precision or has such weights
    notes: tuple[str, ...]

    @property
    def max_tokens(self) -> int:
        """The sequence length of the model."""
        return int(self.model.inputs[0].shape[1])

    @property
    def embedding_rows(self) -> int | None:
        """The highest id that the model takes, plus one; None if no embedding layer reads the ids."""
        return min((int(each.input_dim) for each in embeddings(self.model)), default=None)


def import_model(
    path: Path, max_tokens: int | None = None, *, from_logits: bool = False, several_labels: bool = False
) -> Imported:
    """Load a model. `max_tokens` is the sequence length for a model that takes any.

    With `from_logits`, the model returns logits: a softmax is added, or sigmoids for one unit and for `several_labels`
    of a text. Raises `ExportError` if the file is not a model with one input and one output, or the model does not
    return logits.
    """
    text = None
    if (path / GRAPHS).is_file():
        with open_saved_model(path) as saved:
            text = read_text(saved) if saved.reads_text else None
            whole = _saved_model(saved, max_tokens) if text is None else text.model
    else:
        whole = load(path)
    _check_ends(path, whole)
    answer = whole.outputs[0]
    if len(answer.shape) == 1:
        answer = keras.layers.Reshape((1,), name="column_of_answers")(answer)
    if from_logits:
        answer = _probabilities(path, whole, answer, several_labels)
    if not isinstance(whole, keras.Sequential) or answer is not whole.outputs[0]:
        whole = keras.Model(whole.inputs[0], answer)  # the ends may be a list or a dictionary of one tensor
    model, vectorization = _without_vectorization(path, whole)
    notes = []
    if from_logits:
        notes.append(f"a {model.outputs[0]._keras_history.operation.activation.__name__} is added after the logits")
    if vectorization is not None:
        notes.append(f"layer {vectorization.name} is removed; the tokenizer takes its place")
    sequence_length = _sequence_length(path, model, max_tokens)
    types = other_types(model)
    with_groups = grouped(model)
    is_copied = bool(types or with_groups)
    any_length = copy_in_float32(path, model, model.inputs[0].shape[1]) if is_copied else model
    fixed = copy_in_float32(path, model, sequence_length) if model.inputs[0].shape[1] is None else any_length
    changed = largest_difference(path, model, fixed, types) if is_copied else 0
    if types:
        notes.append(f"cast from {', '.join(types)} to float32, which changes answers by up to {changed:.1g}")
    for layer in with_groups:
        notes.append(
            f"the {layer.groups} groups of layer {layer.name} become one with zeros between them, which changes "
            f"answers by up to {changed:.1g}"
        )
    if (operation := half_precision(fixed)) is not None:
        raise ExportError(
            f"{path}: {operation.name} casts to half precision, in which ONNX Runtime rounds differently",
            "remove the cast, load the weights and save the model again",
        )
    if str(fixed.outputs[0].dtype) != "float32":
        raise ExportError(
            f"{path}: the output of the model is {fixed.outputs[0].dtype}",
            "save the model as .keras, without an explicit cast: its weights are then cast to float32",
        )
    original = None if text is None else text.original
    if original is not None and from_logits:
        original = original.followed_by(model.outputs[0]._keras_history.operation.activation)
    if vectorization is not None and own_standardization(vectorization) is None:
        original = reading_ids(any_length, vectorization) if types else reading_texts(whole, vectorization)
    preprocessing = None if text is None else text.preprocessing
    was_half = not HALF.isdisjoint(types)
    return Imported(fixed, any_length, vectorization, preprocessing, original, id_types(model), was_half, tuple(notes))


def _probabilities(path: Path, model: Any, logits: Any, several_labels: bool) -> Any:
    """Return the probabilities of logits. Raises `ExportError` if the model does not end in a linear layer."""
    layer = last_layer(model)
    activation = getattr(layer, "activation", None)
    if isinstance(layer, keras.layers.Softmax) or activation not in (None, keras.activations.linear):
        name = getattr(activation, "__name__", "softmax")
        raise ExportError(
            f"{path}: layer {layer.name} has the activation {name}, so it does not return logits",
            "leave --from-logits out",
        )
    added = "sigmoid" if several_labels or logits.shape[-1] == 1 else "softmax"
    return keras.layers.Activation(added, dtype=logits.dtype, name="probabilities_of_logits")(logits)


def _sequence_length(path: Path, model: Any, max_tokens: int | None) -> int:
    shape = model.inputs[0].shape
    if len(shape) != 2:
        raise ExportError(
            f"{path}: the input of the model has shape {shape}, not [batch, sequence_length]",
            "export the part of the model that starts with the embedding",
        )
    sequence_length = shape[1] or max_tokens
    if sequence_length is None:
        raise ExportError(
            f"{path}: the model takes any number of ids",
            "state the number that it was trained with, with --max-tokens",
        )
    if max_tokens not in (None, sequence_length):
        raise ExportError(
            f"{path}: the model takes {sequence_length} ids, not {max_tokens}, as --max-tokens or the layer states",
            "leave the flag out, or pass the layer that the model was trained with",
        )
    return int(sequence_length)


def load(path: Path) -> keras.Model:
    """Load the model in a `.keras` or `.h5` file. Raises `ExportError`, which names the layer that cannot be loaded."""
    if not path.is_file():
        raise ExportError(f"{path}: there is no such file", "check the path of the model")
    check_activations(path)
    try:
        with readable(path) as file:
            model = keras.models.load_model(file, _not_run(path), compile=False)
    except Exception as error:
        # For a broken file, zipfile, h5py and the constructors of layers raise errors of many classes.
        raise load_error(path, error) from error
    check_masks(path, model)
    return model


def _not_run(path: Path) -> dict[str, Any]:
    """Return what stands for the functions of `TextVectorization` layers, by their names."""
    names = [str(each["config"]) for _, each in functions(path) if each["class_name"] == "function"]
    return {name: not_run(name) for name in names}


def _saved_model(saved: SavedModel, max_tokens: int | None) -> keras.Model:
    """Wrap a SavedModel in a Keras model of one layer. `max_tokens` is the sequence length if it takes any."""
    layer = keras.layers.TFSMLayer(str(saved.copy), call_endpoint=SIGNATURE)
    layer.autocast = False  # to float32, if the ids are float64
    ids = keras.Input([max_tokens] if saved.shape == [None] else saved.shape, dtype=saved.input.dtype.name)
    try:
        return keras.Model(ids, next(iter(layer(ids).values())))
    except Exception as error:  # TensorFlow raises errors of many classes, for example for a text shorter than a filter
        raise ExportError(
            f"{saved.path}: the SavedModel does not read {ids.shape[1]} ids: {quoted(error)}",
            "state the number that it was trained with, with --max-tokens",
        ) from error


def _check_ends(path: Path, model: Any) -> None:
    # A subclass of `keras.Model` and a `Sequential` model that was never built have no inputs and outputs.
    for kind in ("input", "output"):
        ends = getattr(model, f"{kind}s", None) or []
        if len(ends) != 1:
            names = ", ".join(str(end.name) for end in ends) or "none that Keras knows of"
            raise ExportError(
                f"{path}: the model must have one {kind}, and has {len(ends)}: {names}",
                "export a model that reads the ids of one text and returns probabilities",
            )


def _without_vectorization(path: Path, model: Any) -> tuple[Any, Any]:
    """Return the part of a model after its `TextVectorization` layer, and the layer, also if an inner model has it."""
    if str(model.inputs[0].dtype) != "string":
        return model, None
    parts: list[keras.Model] = []  # of inner models first
    layer = model
    while not _is_vectorization(layer):
        outer, found = layer, [each for each in layer.layers if any(map(_is_vectorization, layers(each)))]
        if len(found) != 1:
            raise ExportError(
                f"{path}: the model reads text, and has {len(found)} TextVectorization layers instead of one",
                _WITHOUT_LAYER,
            )
        layer, [answer] = found[0], outer.outputs
        tensor = _output(layer, answer)
        try:
            parts[:0] = [] if tensor is answer else [keras.Model(tensor, answer)]
        except ValueError as error:
            raise ExportError(
                f"{path}: layer {layer.name} is not the only layer that reads the text", _WITHOUT_LAYER
            ) from error
    check_supported(layer)
    if not parts:
        raise ExportError(f"{path}: the model returns ids instead of probabilities", "export the whole model")
    first, *others = parts
    if not others:
        return first, layer
    return keras.Model(first.inputs[0], reduce(lambda value, part: part(value), others, first.outputs[0])), layer


def _is_vectorization(layer: Any) -> bool:
    return isinstance(layer, keras.layers.TextVectorization)


def _output(layer: Any, tensor: Any) -> Any:
    """Return the output of a layer from which a tensor is computed; the tensor itself if there is none."""
    waiting = [tensor]
    while waiting:
        each = waiting.pop()
        history = each._keras_history
        if history.operation is layer:
            return each
        waiting += history.operation._inbound_nodes[history.node_index].input_tensors
    return tensor
