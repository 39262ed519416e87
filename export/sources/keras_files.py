"""Keras models from elsewhere: a `.keras` or `.h5` file or a SavedModel, as a float32 model over ids of a fixed length.

The graphs that this project serves compute in float32, so weights of other types are cast. A `TextVectorization` layer
is removed, because the service tokenizes texts itself.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import tensorflow
from keras.src.layers.merging.base_merge import Merge  # the class of layers such as Add, which has no public name

from sentiment_conv1d.export.errors import ExportError, quoted
from sentiment_conv1d.export.recognition.connections import embeddings, half_precision, id_types, layers
from sentiment_conv1d.export.sources.casting import copy_in_float32, largest_difference, other_types
from sentiment_conv1d.export.sources.original import Original, reading_ids, reading_texts
from sentiment_conv1d.export.sources.vectorization import check_supported, not_run, own_standardization

#: The name of a class or function of the user in an error of Keras.
_MISSING = re.compile(
    r"(?:Could not locate (?:class|function)|Unknown layer:) '?(?:\w+>)?(\w+)|identifier: .*'class_name': '(\w+)'"
)

#: The extensions of files that only running their code could read.
PICKLES = (".pickle", ".pkl", ".joblib")

_SAVED_MODEL = "save the model as a SavedModel with Keras 2, which contains the computation itself"

#: Arguments of layers that Keras 2 writes and Keras 3 does not know: with a value that changes nothing, and those that
#: matter only for training.
_IDLE_ARGUMENTS = {"groups": 1, "noise_shape": None, "time_major": False}
_TRAINING_ARGUMENTS = {
    "SeparableConv1D": ("kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SpatialDropout1D": ("trainable",),
}

#: 0.2 x + 0.5 between 0 and 1 in Keras 2, and x / 6 + 0.5 in Keras 3.
_HARD_SIGMOID = "hard_sigmoid"


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


def import_model(path: Path, max_tokens: int | None = None) -> Imported:
    """Load a model. `max_tokens` is the sequence length for a model that takes any.

    Raises `ExportError` if the file is not a model with one input and one output.
    """
    whole = _saved_model(path, max_tokens) if is_saved_model(path) else load(path)
    _check_ends(path, whole)
    if not isinstance(whole, keras.Sequential):  # the ends may be a list or a dictionary of one tensor
        whole = keras.Model(whole.inputs[0], whole.outputs[0])
    model, vectorization = _without_vectorization(path, whole)
    notes = []
    if vectorization is not None:
        notes.append(f"layer {vectorization.name} is removed; the tokenizer takes its place")
    sequence_length = _sequence_length(path, model, max_tokens)
    types = other_types(model)
    any_length = copy_in_float32(path, model, model.inputs[0].shape[1]) if types else model
    fixed = copy_in_float32(path, model, sequence_length) if model.inputs[0].shape[1] is None else any_length
    if types:
        changed = largest_difference(path, model, fixed, types)
        notes.append(f"cast from {', '.join(types)} to float32, which changes answers by up to {changed:.1g}")
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
            f"--max-tokens: the model takes {sequence_length} ids, not {max_tokens}",
            "leave the flag out: the model states its sequence length",
        )
    return int(sequence_length)


def is_saved_model(path: Path) -> bool:
    """Whether a path is a SavedModel of TensorFlow."""
    return (path / "saved_model.pb").is_file()


def load(path: Path) -> keras.Model:
    """Load the model in a `.keras` or `.h5` file. Raises `ExportError`, which names the layer that cannot be loaded."""
    if not path.is_file():
        raise ExportError(f"{path}: there is no such file", "check the path of the model")
    _check_activations(path)
    try:
        with _readable(path) as file:
            model = keras.models.load_model(file, _not_run(path), compile=False)
    except Exception as error:
        # For a broken file, zipfile, h5py and the constructors of layers raise errors of many classes.
        raise _refusal(path, error) from error
    _check_masks(path, model)
    return model


@contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """Yield the file or, if Keras 2 wrote it, a copy that Keras 3 can read."""
    if not h5py.is_hdf5(path) or _keras_version(path).startswith("3."):
        yield path
        return
    with h5py.File(path) as file:
        configuration = json.loads(file.attrs["model_config"])
    for layer in _walk(configuration):
        arguments = layer["config"]
        for name, value in _IDLE_ARGUMENTS.items():
            if arguments.get(name, ...) == value:
                del arguments[name]
        for name in _TRAINING_ARGUMENTS.get(str(layer.get("class_name")), ()):
            arguments.pop(name, None)
    if configuration["class_name"] == "Sequential":
        _add_input(configuration)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.h5"
        shutil.copy(path, copy)
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(configuration)
        yield copy


def _add_input(configuration: dict[str, Any]) -> None:
    """Add an input layer to the configuration of a `Sequential` model, if it has none.

    Until Keras 2.2, the first layer contains the shape of the input. Before Keras 2.2.3, the configuration is only the
    list of layers.
    """
    listed = configuration["config"]
    chain = listed if isinstance(listed, list) else listed["layers"]
    if chain[0]["class_name"] != "InputLayer" and "batch_input_shape" in chain[0]["config"]:
        shape = chain[0]["config"].pop("batch_input_shape")
        front = {"class_name": "InputLayer", "config": {"batch_shape": shape, "dtype": "float32", "name": "ids"}}
        configuration["config"] = {"name": "sequential", "layers": [front, *chain]}


def _not_run(path: Path) -> dict[str, Any]:
    """Return what stands for the functions of `TextVectorization` layers, by their names."""
    names = [str(each["config"]) for _, each in _functions(path) if each["class_name"] == "function"]
    return {name: not_run(name) for name in names}


def _refusal(path: Path, error: Exception) -> ExportError:
    text = str(error)
    lambdas = [str(each["config"].get("name")) for each in _configured(path) if each.get("class_name") == "Lambda"]
    if lambdas:
        return ExportError(
            f"{path}: layer {', '.join(lambdas)} is a Lambda, whose Python code is not loaded",
            "replace it with layers or operations of Keras, and save the model again",
        )
    for layer, function in _functions(path):
        if function["class_name"] == "__lambda__":
            return ExportError(
                f"{path}: layer {layer} standardizes or splits texts with a lambda, whose code is not loaded",
                "define the function with def and save the model again; --lowercase, --removed and --replaced then "
                "state what it does",
            )
    version = _keras_version(path)
    if version.startswith("1."):
        return ExportError(
            f"{path}: Keras {version} wrote this file",
            "load it with Keras 2.2, save it again and export the new file",
        )
    if version.startswith("2.") and zipfile.is_zipfile(path):
        return ExportError(
            f"{path}: Keras {version} wrote this file, and Keras 3 reads a .keras file only if Keras 3 wrote it",
            "load it with Keras 2, save it with `model.save('model.h5')` and export the new file",
        )
    if _has_only_weights(path):
        return ExportError(
            f"{path}: the file contains weights, but no layers",
            "build the model, read the file with `model.load_weights` and write `model.save('model.keras')`",
        )
    if path.suffix in PICKLES:
        return ExportError(
            f"{path}: a pickle can run any code, so it is never read",
            "load it where it was written, and write `model.save('model.keras')`",
        )
    missing = _MISSING.search(text)
    if missing:
        return ExportError(
            f"{path}: {missing[1] or missing[2]} is a class or function that Keras 3 lacks",
            _SAVED_MODEL
            if version.startswith("2.")
            else "build the model from Keras' own layers, load its weights and save it as .keras",
        )
    cause = text.rsplit("Exception encountered: ", maxsplit=1)[-1]
    return ExportError(
        f"{path}: not a Keras model that can be loaded ({quoted(cause)})",
        _SAVED_MODEL if version.startswith("2.") else "write the file with `model.save('model.keras')`",
    )


def _check_activations(path: Path) -> None:
    """Raise `ExportError` for an activation that Keras 2, which wrote the file, computes differently than Keras 3."""
    version = _keras_version(path)
    if not version.startswith(("1.", "2.")):
        return
    for layer in _configured(path):
        if _HARD_SIGMOID in (layer["config"].get("activation"), layer["config"].get("recurrent_activation")):
            raise ExportError(
                f"{path}: layer {layer['config'].get('name')} has the activation {_HARD_SIGMOID}, which Keras 3 "
                f"computes differently than Keras {version}, which wrote the file",
                _SAVED_MODEL,
            )


def _check_masks(path: Path, model: Any) -> None:
    """Raise `ExportError` for a layer that merges masks, which Keras 2, which wrote the file, does differently."""
    version = _keras_version(path)
    for layer in layers(model) if version.startswith(("1.", "2.")) else ():
        for node in layer._inbound_nodes if isinstance(layer, Merge) else ():
            if len({id(getattr(each, "_keras_mask", None)) for each in node.input_tensors}) > 1:
                raise ExportError(
                    f"{path}: layer {layer.name} merges masks, which Keras 3 does differently than Keras {version}, "
                    "which wrote the file",
                    _SAVED_MODEL,
                )


def _has_only_weights(path: Path) -> bool:
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path) as file:
        return "model_config" not in file.attrs


def _keras_version(path: Path) -> str:
    """Return the version of Keras that wrote a file; empty if the file does not state it."""
    if h5py.is_hdf5(path):
        with h5py.File(path) as file:
            version = file.attrs.get("keras_version", "")
        return version.decode() if isinstance(version, bytes) else str(version)
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (OSError, LookupError, TypeError, ValueError, zipfile.BadZipFile):
        return ""


def _configured(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the configuration of every layer in a file; nothing if it cannot be read."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                configuration = json.loads(archive.read("config.json"))
        else:
            with h5py.File(path) as file:
                configuration = json.loads(file.attrs["model_config"])
    except (OSError, LookupError, ValueError):
        return
    yield from _walk(configuration)


def _functions(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the functions with which `TextVectorization` layers standardize or split texts, and the layers' names."""
    for layer in _configured(path):
        if layer.get("class_name") == "TextVectorization":
            for argument in ("standardize", "split"):
                function = layer["config"].get(argument)
                if isinstance(function, dict) and {"class_name", "config"} <= function.keys():
                    yield str(layer["config"].get("name")), function


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("config"), dict):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _walk(each)


def _saved_model(path: Path, max_tokens: int | None) -> keras.Model:
    """Wrap a SavedModel in a Keras model of one layer. `max_tokens` is the sequence length if it takes any."""
    try:
        signature = tensorflow.saved_model.load(str(path)).signatures["serving_default"]
        inputs = list(signature.structured_input_signature[1].values())
    except Exception as error:
        raise ExportError(
            f"{path}: not a SavedModel with the signature serving_default",
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
            f"{path}: this SavedModel reads text", "save the model as .keras, from which the tokenizer can be read"
        )
    batch, *shape = inputs[0].shape
    if batch is not None:
        raise ExportError(
            f"{path}: this SavedModel reads {batch} texts at a time", "save it with a batch of any size: [None, ...]"
        )
    layer = keras.layers.TFSMLayer(str(path), call_endpoint="serving_default")
    ids = keras.Input([max_tokens] if shape == [None] else shape, dtype=inputs[0].dtype.name)
    return keras.Model(ids, next(iter(layer(ids).values())))


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
