"""Writes HDF5 files in the layout of Keras 2, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

_CONVOLUTION = (
    "filters",
    "kernel_size",
    "strides",
    "padding",
    "data_format",
    "dilation_rate",
    "activation",
    "use_bias",
)

#: The fields that Keras 2 wrote for each layer, without initializers and constraints.
_ARGUMENTS = {
    "Embedding": ("input_dim", "output_dim", "mask_zero"),
    "Dropout": ("rate",),
    "Conv1D": _CONVOLUTION,
    "SeparableConv1D": (*_CONVOLUTION, "depth_multiplier"),
    "SpatialDropout1D": ("rate",),
    "GlobalMaxPooling1D": ("data_format",),
    "GlobalAveragePooling1D": ("data_format",),
    "Flatten": ("data_format",),
    "GRU": ("units", "activation", "recurrent_activation", "use_bias"),
    "LSTM": ("units", "activation", "recurrent_activation", "use_bias", "go_backwards"),
    "Dense": ("units", "activation", "use_bias"),
    "Activation": ("activation",),
}

#: Fields that Keras 3 does not know, as Keras 2.2 to 2.21 wrote them.
_UNKNOWN: dict[str, dict[str, Any]] = {
    "LSTM": {"time_major": False},
    "SeparableConv1D": {"groups": 1, "kernel_initializer": None, "kernel_regularizer": None, "kernel_constraint": None},
    "SpatialDropout1D": {"noise_shape": None},
}


def save_as_keras_2(model: keras.Sequential, path: Path, version: str) -> None:
    """Write a model whose first layer is an embedding.

    Before version 2.2.3 the configuration is a list of layers, and until 2.3 the shape of the input is in the first.
    """
    layers = [_layer(layer) for layer in model.layers]
    layers[0]["config"] |= {"batch_input_shape": [None, model.inputs[0].shape[1]]}
    bare = tuple(map(int, version.split("."))) < (2, 2, 3)
    configuration = {"class_name": "Sequential", "config": layers if bare else {"name": "model", "layers": layers}}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["backend"] = "tensorflow"
        file.attrs["model_config"] = json.dumps(configuration)
        group = file.create_group("model_weights")
        group.attrs["keras_version"] = version
        group.attrs["backend"] = "tensorflow"
        group.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            _write_weights(group.create_group(layer.name), layer)


def _layer(layer: Any) -> dict[str, Any]:
    kind = type(layer).__name__
    configuration = layer.get_config()
    own = {name: configuration[name] for name in _ARGUMENTS[kind]}
    return {
        "class_name": kind,
        "config": {"name": layer.name, "trainable": True, "dtype": "float32", **own} | _UNKNOWN.get(kind, {}),
    }


def _write_weights(group: h5py.Group, layer: Any) -> None:
    names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
    group.attrs["weight_names"] = [name.encode() for name in names]
    for name, weight in zip(names, layer.weights, strict=True):
        group.create_dataset(name, data=np.asarray(weight))
