"""Files of Keras 2: what Keras 3 can only read after a change, and what it computes differently."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
from keras.src.layers.merging.base_merge import Merge  # the class of layers such as Add, which has no public name

from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.recognition.connections import layers
from sentiment_conv1d.export.sources.keras_configuration import configured, keras_version, walk

#: What to do instead.
SAVED_MODEL = "save the model as a SavedModel with Keras 2, which contains the computation itself"

#: Arguments of layers that Keras 2 writes and Keras 3 does not know: with a value that changes nothing, and those that
#: matter only for training.
_IDLE_ARGUMENTS = {"groups": 1, "noise_shape": None, "time_major": False}
_TRAINING_ARGUMENTS = {
    "SeparableConv1D": ("kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SpatialDropout1D": ("trainable",),
}

#: Arguments of layers that can be layers.
_INNER_LAYERS = ("activation", "backward_layer", "cell", "layer")

#: 0.2 x + 0.5 between 0 and 1 in Keras 2, and x / 6 + 0.5 in Keras 3.
_HARD_SIGMOID = "hard_sigmoid"


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """Yield the file or, if Keras 2 wrote it, a copy that Keras 3 can read."""
    if not h5py.is_hdf5(path) or keras_version(path).startswith("3."):
        yield path
        return
    with h5py.File(path) as file:
        configuration = json.loads(file.attrs["model_config"])
    for layer in walk(configuration):
        arguments = layer["config"]
        for name, value in _IDLE_ARGUMENTS.items():
            if arguments.get(name, ...) == value:
                del arguments[name]
        for name in _TRAINING_ARGUMENTS.get(str(layer.get("class_name")), ()):
            arguments.pop(name, None)
        if layer.get("class_name") in ("GRU", "GRUCell"):  # Keras 2.0 computes this one, and does not write it
            arguments.setdefault("reset_after", False)
        if isinstance(axis := arguments.get("axis"), list) and len(axis) == 1:  # of a batch normalization
            arguments["axis"] = axis[0]
        if isinstance(policy := arguments.get("dtype"), dict):  # of a layer with mixed precision
            arguments["dtype"] = policy["config"]["name"]
        if "module" in layer and layer["class_name"] != "InputLayer":  # within an inner model, since Keras 2.13
            arguments.pop("batch_input_shape", None)
        for inner in (*map(arguments.get, _INNER_LAYERS), *arguments.get("cells", ())):
            if isinstance(inner, dict):  # Keras 2.13 and later write the module
                inner.setdefault("module", "keras.layers")
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


def check_activations(path: Path) -> None:
    """Raise `ExportError` for an activation that Keras 2, which wrote the file, computes differently than Keras 3."""
    version = _old_version(path)
    for layer in configured(path) if version else ():
        if _HARD_SIGMOID in (layer["config"].get("activation"), layer["config"].get("recurrent_activation")):
            raise ExportError(
                f"{path}: layer {layer['config'].get('name')} has the activation {_HARD_SIGMOID}, which Keras 3 "
                f"computes differently than Keras {version}, which wrote the file",
                SAVED_MODEL,
            )


def check_masks(path: Path, model: Any) -> None:
    """Raise `ExportError` for a layer that merges masks, which Keras 2, which wrote the file, does differently."""
    version = _old_version(path)
    for layer in layers(model) if version else ():
        for node in layer._inbound_nodes if isinstance(layer, Merge) else ():
            if len({id(getattr(each, "_keras_mask", None)) for each in node.input_tensors}) > 1:
                raise ExportError(
                    f"{path}: layer {layer.name} merges masks, which Keras 3 does differently than Keras {version}, "
                    "which wrote the file",
                    SAVED_MODEL,
                )


def _old_version(path: Path) -> str:
    """Return the version of Keras that wrote a file if it is older than Keras 3; empty if not, or if not stated."""
    version = keras_version(path)
    return version if version.startswith(("1.", "2.")) else ""
