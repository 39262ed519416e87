"""How the layers of a Keras model are connected, from its output back to its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras.src.models.functional import Functional  # what keras.Model(inputs, outputs) makes; it has no public name

#: Layers that do nothing once training is over.
_IDLE = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    keras.layers.ActivityRegularization,
)


@dataclass(frozen=True)
class Tensor:
    """A symbolic tensor of a model; for one inside an inner model, `outer` is what that model is called with."""

    value: Any
    outer: Tensor | None = None


def producer(tensor: Tensor) -> tuple[Any, list[Tensor]]:
    """The layer that computes a tensor, and what it computes it from.

    Models inside the model are looked through if they have one input and one output.
    """
    history = tensor.value._keras_history
    layer = history.operation
    if type(layer) is keras.layers.InputLayer and tensor.outer is not None:
        return producer(tensor.outer)
    inputs = [Tensor(value, tensor.outer) for value in layer._inbound_nodes[history.node_index].input_tensors]
    # A subclass of `keras.Model` may compute anything; these two compute what their layers do.
    if type(layer) in (keras.Sequential, Functional) and len(layer.inputs) == len(layer.outputs) == len(inputs) == 1:
        return producer(Tensor(layer.outputs[0], inputs[0]))
    return layer, inputs


def skip_idle(tensor: Tensor) -> Tensor:
    """The tensor in front of layers that do nothing once training is over."""
    layer, inputs = producer(tensor)
    while type(layer) in _IDLE:
        tensor = inputs[0]
        layer, inputs = producer(tensor)
    return tensor


def source(tensor: Tensor) -> Any:
    """The symbolic tensor itself, or for the input of an inner model, the one that the model is called with."""
    while type(tensor.value._keras_history.operation) is keras.layers.InputLayer and tensor.outer is not None:
        tensor = tensor.outer
    return tensor.value
