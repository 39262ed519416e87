"""How the layers of a Keras model are connected, from its output back to its input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras.src.models.functional import (
    Functional,
)  # the class of keras.Model(inputs, outputs), which has no public name

#: Layers that do nothing after training.
_IDLE = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    keras.layers.ActivityRegularization,
)

#: The types of half precision.
HALF = {"float16", "bfloat16"}


@dataclass(frozen=True)
class Tensor:
    """A symbolic tensor of a model. For a tensor of an inner model, `outer` is the input of that model in the outer."""

    value: Any
    outer: Tensor | None = None


def producer(tensor: Tensor) -> tuple[Any, list[Tensor]]:
    """Return the layer that computes a tensor, and the layer's inputs.

    Inner models with one input and one output count as their layers.
    """
    history = tensor.value._keras_history
    layer = history.operation
    if type(layer) is keras.layers.InputLayer and tensor.outer is not None:
        return producer(tensor.outer)
    inputs = [Tensor(value, tensor.outer) for value in layer._inbound_nodes[history.node_index].input_tensors]
    # A subclass of `keras.Model` may compute anything; these two only run their layers.
    if type(layer) in (keras.Sequential, Functional) and len(layer.inputs) == len(layer.outputs) == len(inputs) == 1:
        return producer(Tensor(layer.outputs[0], inputs[0]))
    return layer, inputs


def skip_idle(tensor: Tensor) -> Tensor:
    """Return the tensor before any layers that do nothing after training."""
    layer, inputs = producer(tensor)
    while type(layer) in _IDLE:
        tensor = inputs[0]
        layer, inputs = producer(tensor)
    return tensor


def layers(model: Any) -> Iterator[Any]:
    """Yield all layers of a model, including those of inner models; for a layer, the layer itself."""
    if not isinstance(model, keras.Model):
        yield model
        return
    for layer in model.layers:
        yield from layers(layer)


def embeddings(model: Any) -> Iterator[Any]:
    """Yield the embedding layers that read the input of a model itself, not what other layers compute from it."""
    for tensor in _upstream(Tensor(model.outputs[0])):
        layer, inputs = producer(tensor)
        if isinstance(layer, keras.layers.Embedding) and source(inputs[0]) is model.inputs[0]:
            yield layer


def id_types(model: Any) -> set[str]:
    """Return the type of the input of a model, and the types of half precision that its embedding layers read."""
    read = (producer(tensor) for tensor in _upstream(Tensor(model.outputs[0])))
    ids = [each for layer, inputs in read if isinstance(layer, keras.layers.Embedding) for each in _upstream(inputs[0])]
    return {str(model.inputs[0].dtype), *({str(each.value.dtype) for each in ids} & HALF)}


def half_precision(model: Any) -> Any:
    """Return a layer or operation of a model that returns half precision; None if there is none."""
    found = (producer(each) for each in _upstream(Tensor(model.outputs[0])) if str(each.value.dtype) in HALF)
    return next((layer for layer, inputs in found if inputs), None)


def _upstream(tensor: Tensor) -> Iterator[Tensor]:
    """Yield a tensor and all tensors from which it is computed."""
    waiting, seen = [tensor], set[tuple[int, int]]()
    while waiting:
        tensor = waiting.pop()
        place = (id(tensor.value), id(tensor.outer and tensor.outer.value))
        if place in seen:
            continue
        seen.add(place)
        yield tensor
        waiting += producer(tensor)[1]
        if tensor.outer is not None:
            waiting.append(tensor.outer)


def last_layer(model: Any) -> Any:
    """Return the layer that computes the output of a model with one output, also if an inner model contains it.

    Layers that only change its shape do not count.
    """
    layer, inputs = producer(skip_idle(Tensor(model.outputs[0])))
    while type(layer) in (keras.layers.Flatten, keras.layers.Reshape):
        layer, inputs = producer(skip_idle(inputs[0]))
    return layer


def source(tensor: Tensor) -> Any:
    """Return the symbolic tensor or, for the input of an inner model, the tensor that the model is called with."""
    while type(tensor.value._keras_history.operation) is keras.layers.InputLayer and tensor.outer is not None:
        tensor = tensor.outer
    return tensor.value
