"""The Conv1D family: Embedding -> Conv1D, one or several in parallel -> global max pooling -> dense layers.

Only such a model can be folded. It is recognised by its layers and how they are connected, however it was built. A
subclass of a layer may compute anything, so it is not accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from sentiment_conv1d.model.layers import ACTIVATIONS, SOFTMAX, Bank, Dense, Weights


@dataclass(frozen=True)
class Family:
    """A recognised model as plain arrays."""

    max_tokens: int
    embedding: Weights  # [vocabulary, embedding]
    banks: tuple[Bank, ...]
    head: tuple[Dense, ...]


class _Unsupported(Exception):
    """The model is not of the family; the message says why."""


def recognise(model: keras.Model) -> tuple[Family | None, str]:
    """The model as a `Family`, or None and why it is not one."""
    try:
        return _recognise(model), ""
    except _Unsupported as unsupported:
        return None, str(unsupported)


def _recognise(model: keras.Model) -> Family:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise _Unsupported("it has several inputs or outputs")
    head, tensor = _head(model.outputs[0])
    layer, inputs = _producer(tensor)
    if type(layer) is keras.layers.Concatenate:
        if layer.axis not in (-1, 1):
            raise _Unsupported(f"layer {layer.name} concatenates along axis {layer.axis}")
        branches = [_bank(branch) for branch in inputs]
    else:
        branches = [_bank(tensor)]
    sources = {id(source): source for _, source, _ in branches}
    if len(sources) != 1:
        names = sorted(layer.name for layer in sources.values())
        raise _Unsupported(f"its convolutions read different embeddings: {', '.join(names)}")
    embedding, tokens = branches[0][1:]
    if any(branch[2] is not tokens for branch in branches) or tokens is not model.inputs[0]:
        raise _Unsupported(f"layer {embedding.name} does not read the model's input everywhere")
    if len(tokens.shape) != 2 or tokens.shape[1] is None:
        raise _Unsupported(f"its input has shape {tokens.shape}, not [batch, time] with a fixed time")
    return Family(
        max_tokens=int(tokens.shape[1]),
        embedding=_array(embedding.embeddings),
        banks=tuple(bank for bank, _, _ in branches),
        head=tuple(head),
    )


def _head(tensor: Any) -> tuple[list[Dense], Any]:
    """The dense layers in front of the output, first to last, and the tensor they start from."""
    layers: list[Dense] = []
    while True:
        activations, layer, inputs, tensor_before = _after_activations(tensor)
        if type(layer) is not keras.layers.Dense:
            break
        layers.insert(0, Dense(_array(layer.kernel), _bias(layer), (*_activation(layer), *activations)))
        tensor = inputs[0]
    if not layers:
        raise _Unsupported(f"layer {layer.name} stands where a dense layer should")
    if activations:
        raise _Unsupported("an activation stands between the pooling and the dense layers")
    return layers, tensor_before


def _bank(tensor: Any) -> tuple[Bank, Any, Any]:
    """A pooled convolution: its filters, its embedding layer and the tensor of ids that reads."""
    layer, inputs = _producer(tensor)
    if type(layer) is not keras.layers.GlobalMaxPooling1D:
        raise _Unsupported(f"layer {layer.name} stands where a global max pooling should")
    if layer.data_format != "channels_last" or layer.keepdims:
        raise _Unsupported(f"layer {layer.name} keeps its dimensions or pools along the channels")
    activations, convolution, inputs, _ = _after_activations(inputs[0])
    if type(convolution) is not keras.layers.Conv1D:
        raise _Unsupported(f"layer {convolution.name} stands where a convolution should")
    plain = {"padding": "valid", "strides": (1,), "dilation_rate": (1,), "groups": 1, "data_format": "channels_last"}
    for name, value in plain.items():
        if getattr(convolution, name) != value:
            raise _Unsupported(f"layer {convolution.name} has {name} {getattr(convolution, name)}")
    activations = (*_activation(convolution), *activations)
    if not set(activations) <= set(ACTIVATIONS):
        raise _Unsupported(f"layer {convolution.name} has an activation that pooling does not commute with")
    embedding, inputs = _producer(_skip_dropout(inputs[0]))
    if type(embedding) is not keras.layers.Embedding:
        raise _Unsupported(f"layer {embedding.name} stands where an embedding should")
    if embedding.mask_zero:
        raise _Unsupported(f"layer {embedding.name} masks its padding")
    return Bank(_array(convolution.kernel), _bias(convolution), activations), embedding, inputs[0]


def _after_activations(tensor: Any) -> tuple[tuple[str, ...], Any, list[Any], Any]:
    """The activation layers that made a tensor, in order; the layer in front of them, its inputs and its output."""
    activations: list[str] = []
    while True:
        tensor = _skip_dropout(tensor)
        layer, inputs = _producer(tensor)
        if type(layer) is keras.layers.ReLU and _is_plain(layer):
            activations.insert(0, "Relu")
        elif type(layer) is keras.layers.Softmax and layer.axis in (-1, 1):
            activations.insert(0, SOFTMAX)
        elif type(layer) is keras.layers.Activation:
            activations[:0] = _activation(layer)
        else:
            return tuple(activations), layer, inputs, tensor
        tensor = inputs[0]


def _is_plain(relu: Any) -> bool:
    return relu.max_value is None and not relu.negative_slope and not relu.threshold


def _skip_dropout(tensor: Any) -> Any:
    """Dropout, noise and the like do nothing once training is over."""
    idle = (keras.layers.Dropout, keras.layers.SpatialDropout1D, keras.layers.GaussianNoise)
    layer, inputs = _producer(tensor)
    while type(layer) in idle:
        tensor = inputs[0]
        layer, inputs = _producer(tensor)
    return tensor


def _producer(tensor: Any) -> tuple[Any, list[Any]]:
    """The layer that made a tensor, and the tensors it made it from."""
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, list(node.input_tensors)


def _activation(layer: Any) -> tuple[str, ...]:
    function: Callable[..., Any] = layer.activation
    name = getattr(function, "__name__", "")
    operator = name.capitalize()  # the spellings of Keras and ONNX differ in nothing else
    known = name == "linear" or operator in {*ACTIVATIONS, SOFTMAX}
    if not known or function is not keras.activations.get(name):
        raise _Unsupported(f"layer {layer.name} has the activation {name or function!r}")
    return () if name == "linear" else (operator,)


def _bias(layer: Any) -> Weights:
    return _array(layer.bias) if layer.use_bias else np.zeros(layer.kernel.shape[-1], np.float32)


def _array(variable: Any) -> Weights:
    return np.asarray(variable, np.float32)
