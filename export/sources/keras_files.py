"""Keras models from elsewhere: a `.keras` or `.h5` file or a SavedModel, as a float32 model over ids of a fixed length.

The graphs that this project serves compute in float32, so weights of other types are cast. A `TextVectorization` layer
is removed, because the service tokenizes texts itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow
from tensorflow.python.keras.optimizer_v2.optimizer_v2 import RestoredOptimizer  # has no public name
from tensorflow.python.saved_model import revived_types  # has no public name

from sentiment_conv1d.export.errors import ExportError, quoted
from sentiment_conv1d.export.recognition.connections import embeddings, half_precision, id_types, last_layer
from sentiment_conv1d.export.sources.casting import copy_in_float32, grouped, largest_difference, other_types
from sentiment_conv1d.export.sources.keras_2 import check_activations, check_masks, readable
from sentiment_conv1d.export.sources.keras_configuration import functions
from sentiment_conv1d.export.sources.load_errors import WITHOUT_TEXT, load_error
from sentiment_conv1d.export.sources.original import Original, reading_ids, reading_texts
from sentiment_conv1d.export.sources.vectorization import check_supported, not_run, own_standardization

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
class Imported:
    """A model over ids, the layer that made ids from text if there was one, and what the import changed."""

    model: keras.Model
    any_length: keras.Model  # the same model, over ids of every length that the model in the file takes
    vectorization: Any  # keras.layers.TextVectorization or None
    original: Original | None  # the model in the file, if it reads text
    id_types: set[str]  # to which Keras casts the ids
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
    whole = _saved_model(path, max_tokens) if (path / "saved_model.pb").is_file() else load(path)
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
    original = None
    if vectorization is not None and own_standardization(vectorization) is None:
        original = reading_ids(any_length, vectorization) if types else reading_texts(whole, vectorization)
    return Imported(fixed, any_length, vectorization, original, id_types(model), tuple(notes))


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


def _saved_model(path: Path, max_tokens: int | None) -> keras.Model:
    """Wrap a SavedModel in a Keras model of one layer. `max_tokens` is the sequence length if it takes any."""
    try:
        signature = tensorflow.saved_model.load(str(path)).signatures["serving_default"]
        inputs = list(signature.structured_input_signature[1].values())
    except Exception as error:
        raise ExportError(
            f"{path}: not a SavedModel with the signature serving_default ({quoted(repr(error))})",
            "write it with `model.export(folder)` of Keras",
        ) from error
    if len(inputs) != 1 or len(signature.structured_outputs) != 1:
        raise ExportError(
            f"{path}: the SavedModel has {len(inputs)} inputs and {len(signature.structured_outputs)} outputs; it must "
            "have one of each",
            "export a model that reads the ids of one text and returns probabilities",
        )
    if inputs[0].dtype == tensorflow.string:
        raise ExportError(
            f"{path}: this SavedModel reads text",
            f"save it as .keras with Keras 3, from which the tokenizer can be read; with Keras 2, {WITHOUT_TEXT}",
        )
    batch, *shape = (None, None) if inputs[0].shape.rank is None else inputs[0].shape
    if batch is not None:
        raise ExportError(
            f"{path}: this SavedModel reads {batch} texts at a time", "save it with a batch of any size: [None, ...]"
        )
    layer = keras.layers.TFSMLayer(str(path), call_endpoint="serving_default")
    layer.autocast = False  # to float32, if the ids are float64
    ids = keras.Input([max_tokens] if shape == [None] else shape, dtype=inputs[0].dtype.name)
    try:
        return keras.Model(ids, next(iter(layer(ids).values())))
    except Exception as error:  # TensorFlow raises errors of many classes, for example for a text shorter than a filter
        raise ExportError(
            f"{path}: the SavedModel does not read {ids.shape[1]} ids: {quoted(error)}",
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
    """Return the part of the model after its `TextVectorization` layer, and that layer."""
    if str(model.inputs[0].dtype) != "string":
        return model, None
    found = [each for each in model.layers if isinstance(each, keras.layers.TextVectorization)]
    if len(found) != 1:
        raise ExportError(
            f"{path}: the model reads text, and has {len(found)} TextVectorization layers instead of one",
            "export the part of the model that starts with the embedding, with --vocabulary",
        )
    check_supported(found[0])
    try:
        return keras.Model(_output(found[0], model.outputs[0]), model.outputs[0]), found[0]
    except ValueError as error:
        raise ExportError(
            f"{path}: layer {found[0].name} is not the only layer that reads the text",
            "export the part of the model that starts with the embedding, with --vocabulary",
        ) from error


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
