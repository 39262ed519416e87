"""Keras models from elsewhere: a `.keras` or `.h5` file or a SavedModel, as a float32 model over ids of a fixed length.

The graphs that this project serves compute in float32, so other weights are cast. A `TextVectorization` layer in front
is cut off: the service does its work.
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
import numpy as np
import tensorflow

from sentiment_conv1d.export.errors import ExportError, quoted

_FLOATS = re.compile(r"^b?float\d+$")


@dataclass(frozen=True)
class Imported:
    """A model over ids, the layer that made them of text if there was one, and what was changed."""

    model: keras.Model
    vectorization: Any  # keras.layers.TextVectorization or None
    notes: tuple[str, ...]

    @property
    def max_tokens(self) -> int:
        """The ids that the model reads of a text."""
        return int(self.model.inputs[0].shape[1])

    @property
    def embedding_rows(self) -> int | None:
        """One more than the highest id that the model takes; None if it has no embedding layer."""
        embeddings = [each for each in layers(self.model) if isinstance(each, keras.layers.Embedding)]
        return min((int(each.input_dim) for each in embeddings), default=None)


def import_model(path: Path, max_tokens: int | None = None) -> Imported:
    """Load a model; `max_tokens` is the number of ids for a model that takes any.

    Raises `ExportError` if the file is no model, or not one with one input and one output.
    """
    model = _saved_model(path) if is_saved_model(path) else load(path)
    _check_ends(path, model)
    model, vectorization = _without_vectorization(path, model)
    notes = []
    if vectorization is not None:
        notes.append(f"layer {vectorization.name} is cut off: it becomes the tokenizer")
    shape = model.inputs[0].shape
    if len(shape) != 2:
        raise ExportError(
            f"{path}: the model takes an input of shape {shape}, not ids [batch, time]",
            "export the part of the model that starts with the embedding",
        )
    time = shape[1] or max_tokens
    if time is None:
        raise ExportError(
            f"{path}: the model takes any number of ids", "--max-tokens states the number that it was trained with"
        )
    if max_tokens not in (None, time):
        raise ExportError(
            f"--max-tokens: the model takes {time} ids, not {max_tokens}", "leave the flag out: the model states it"
        )
    types = sorted(_other_types(model))
    if types or shape[1] is None:
        model = _clone(path, model, time)
    if types:
        notes.append(f"cast from {', '.join(types)} to float32")
    if str(model.outputs[0].dtype) != "float32":
        raise ExportError(
            f"{path}: the model answers in {model.outputs[0].dtype}",
            "save the model as .keras: its weights are cast to float32",
        )
    return Imported(model, vectorization, tuple(notes))


def is_saved_model(path: Path) -> bool:
    """Whether a path is a SavedModel of TensorFlow."""
    return (path / "saved_model.pb").is_file()


def load(path: Path) -> keras.Model:
    """The model in a `.keras` or `.h5` file. Raises `ExportError`, which names the layer at fault."""
    if not path.is_file():
        raise ExportError(f"{path}: there is no such file", "check the path of the model")
    try:
        with _readable(path) as file:
            return keras.models.load_model(file, compile=False)
    except Exception as error:
        # A broken file surfaces as whatever zipfile, h5py or a layer's constructor raise.
        raise _refusal(path, error) from error


@contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """The file, or a copy that today's Keras reads of one that Keras 2.2 or older wrote.

    In these, a `Sequential` model has no input layer, but the shape of the input in its first layer, and before 2.2.3
    its configuration is the list of layers alone.
    """
    if not h5py.is_hdf5(path):
        yield path
        return
    with h5py.File(path) as file:
        configuration = json.loads(file.attrs["model_config"])
    if configuration["class_name"] != "Sequential":
        yield path
        return
    listed = configuration["config"]
    chain = listed if isinstance(listed, list) else listed["layers"]
    shape = chain[0]["config"].pop("batch_input_shape", None)
    if chain[0]["class_name"] == "InputLayer" or shape is None:
        yield path
        return
    front = {"class_name": "InputLayer", "config": {"batch_shape": shape, "dtype": "float32", "name": "ids"}}
    configuration["config"] = {"name": "sequential", "layers": [front, *chain]}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.h5"
        shutil.copy(path, copy)
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(configuration)
        yield copy


def layers(model: Any) -> Iterator[Any]:
    """All layers of a model, those of the models in it included; of a layer, the layer itself."""
    if not isinstance(model, keras.Model):
        yield model
        return
    for layer in model.layers:
        yield from layers(layer)


def _refusal(path: Path, error: Exception) -> ExportError:
    text = str(error)
    lambdas = [name for name, kind in _named_layers(path) if kind == "Lambda"]
    if lambdas:
        return ExportError(
            f"{path}: layer {', '.join(lambdas)} is a Lambda, whose Python code is not loaded",
            "save the model with layers or operations of Keras in its place",
        )
    if _keras_version(path).startswith("1."):
        return ExportError(
            f"{path}: a file of Keras {_keras_version(path)}", "load it with Keras 2.2, and export what that saves"
        )
    missing = re.search(r"(?:Could not locate class|Unknown layer:) '?(?:\w+>)?(\w+)", text)
    if missing:
        return ExportError(
            f"{path}: {missing[1]} is a class of your own, which Keras cannot load here",
            "build the model of Keras' own layers, load its weights and save it again",
        )
    cause = text.rsplit("Exception encountered: ", maxsplit=1)[-1]
    return ExportError(
        f"{path}: not a Keras model that can be loaded ({quoted(cause)})",
        "a file that `model.save('model.keras')` of Keras wrote can be loaded",
    )


def _keras_version(path: Path) -> str:
    """That which wrote an HDF5 file; Keras 1 and 2 state it."""
    if not h5py.is_hdf5(path):
        return ""
    with h5py.File(path) as file:
        version = file.attrs.get("keras_version", "")
    return version.decode() if isinstance(version, bytes) else str(version)


def _named_layers(path: Path) -> list[tuple[str, str]]:
    """Name and class of every layer that a file's configuration lists, as far as it can be read."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                configuration = json.loads(archive.read("config.json"))
        else:
            with h5py.File(path) as file:
                configuration = json.loads(file.attrs["model_config"])
    except (OSError, LookupError, ValueError):
        return []
    return list(_walk(configuration))


def _walk(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if isinstance(value.get("config"), dict):
            yield str(value["config"].get("name")), str(value.get("class_name"))
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _walk(each)


def _saved_model(path: Path) -> keras.Model:
    """A SavedModel as a Keras model of one layer."""
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
            f"{path}: {len(inputs)} inputs and {len(signature.structured_outputs)} outputs instead of one",
            "export a model that reads the ids of one text and answers with probabilities",
        )
    if inputs[0].dtype == tensorflow.string:
        raise ExportError(f"{path}: this SavedModel reads text", "save the model as .keras: its tokenizer can be read")
    layer = keras.layers.TFSMLayer(str(path), call_endpoint="serving_default")
    ids = keras.Input(tuple(inputs[0].shape[1:]), dtype=inputs[0].dtype.name)
    return keras.Model(ids, next(iter(layer(ids).values())))


def _check_ends(path: Path, model: Any) -> None:
    # A subclass of `keras.Model` and a `Sequential` that was never built have neither.
    for kind in ("input", "output"):
        ends = getattr(model, f"{kind}s", None) or []
        if len(ends) != 1:
            names = ", ".join(str(end.name) for end in ends) or "none that Keras knows of"
            raise ExportError(
                f"{path}: the model must have one {kind}, and has {len(ends)}: {names}",
                "export a model that reads the ids of one text and answers with probabilities",
            )


def _without_vectorization(path: Path, model: Any) -> tuple[Any, Any]:
    """The model behind its `TextVectorization` layer, and that layer."""
    if str(model.inputs[0].dtype) != "string":
        return model, None
    found = [each for each in model.layers if isinstance(each, keras.layers.TextVectorization)]
    if len(found) != 1:
        raise ExportError(
            f"{path}: the model reads text and has {len(found)} TextVectorization layers of its own",
            "export the model that starts with the embedding, with --vocabulary",
        )
    try:
        return keras.Model(_output(found[0], model.outputs[0]), model.outputs[0]), found[0]
    except ValueError as error:
        raise ExportError(
            f"{path}: layer {found[0].name} is not the only one that reads the text",
            "export the model that starts with the embedding, with --vocabulary",
        ) from error


def _output(layer: Any, tensor: Any) -> Any:
    """The output of a layer that a tensor was made from, which is the tensor itself if none is found."""
    waiting = [tensor]
    while waiting:
        each = waiting.pop()
        history = each._keras_history
        if history.operation is layer:
            return each
        waiting += history.operation._inbound_nodes[history.node_index].input_tensors
    return tensor


def _other_types(model: Any) -> set[str]:
    types = {str(weight.dtype) for weight in model.weights}
    types |= {str(each.compute_dtype) for each in layers(model)}
    return {name for name in types if _FLOATS.match(name) and name != "float32"}


def _clone(path: Path, model: Any, time: int) -> Any:
    """The same model in float32 over int32 [batch, time]."""

    def in_float32(layer: Any) -> Any:
        return type(layer).from_config(layer.get_config() | {"dtype": "float32"})

    try:
        clone = keras.models.clone_model(
            model, input_tensors=keras.Input((time,), dtype="int32"), clone_function=in_float32, recursive=True
        )
        clone.set_weights([np.asarray(weight, np.float32) for weight in model.get_weights()])
    except Exception as error:
        raise ExportError(
            f"{path}: the model cannot be rebuilt in float32 over {time} ids", "save it in float32 with a fixed input"
        ) from error
    return clone
