"""Keras' activation functions and layers, in the notation of `artifact.layers`."""

from __future__ import annotations

from typing import Any

import keras

from sentiment_conv1d.artifact.layers import SOFTMAX

#: By the names of Keras' functions. `linear` means no activation.
_FUNCTIONS = {
    "elu": "Elu(1.0)",
    "gelu": "Gelu",
    "hard_sigmoid": f"HardSigmoid({1 / 6})",
    "hard_silu": "HardSwish",
    "leaky_relu": "LeakyRelu(0.2)",
    "linear": None,
    "mish": "Mish",
    "relu": "Relu",
    "relu6": "Relu6",
    "selu": "Selu",
    "sigmoid": "Sigmoid",
    "silu": "Silu",
    "softmax": SOFTMAX,
    "softplus": "Softplus",
    "softsign": "Softsign",
    "tanh": "Tanh",
}


class UnknownActivation(Exception):
    """An activation that this project does not know; the message is Keras' name for it."""


def function_activations(function: Any) -> tuple[str, ...]:
    """Return the activations that a layer's `activation` computes. Raises `UnknownActivation`."""
    if isinstance(function, keras.layers.Layer):
        found = layer_activations(function)
        if found is not None:
            return found
    name = getattr(function, "__name__", "")
    if name not in _FUNCTIONS or function is not keras.activations.get(name):
        raise UnknownActivation(name or repr(function))
    operator = _FUNCTIONS[name]
    return () if operator is None else (operator,)


def layer_activations(layer: Any) -> tuple[str, ...] | None:
    """Return the activations that an activation layer computes; None for any other layer.

    The layer's input is [batch, features] or [batch, sequence_length, features]. Raises `UnknownActivation` if a
    `keras.layers.Activation` computes something else.
    """
    kind = type(layer)
    if kind is keras.layers.Activation:
        return function_activations(layer.activation)
    if kind is keras.layers.ReLU:
        return _relu(layer)
    if kind is keras.layers.LeakyReLU and layer.negative_slope >= 0:
        return (f"LeakyRelu({float(layer.negative_slope)})",)
    if kind is keras.layers.ELU and layer.alpha >= 0:
        return (f"Elu({float(layer.alpha)})",)
    if kind is keras.layers.Softmax and layer.axis in (-1, 1):
        return (SOFTMAX,)
    return None


def _relu(layer: Any) -> tuple[str, ...] | None:
    slope = float(layer.negative_slope or 0)
    if layer.threshold or slope < 0:
        return None
    if layer.max_value is None:
        return (f"LeakyRelu({slope})",) if slope else ("Relu",)
    return ("Relu6",) if layer.max_value == 6 and not slope else None
