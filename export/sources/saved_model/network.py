"""The network in the graph of a SavedModel: the operators from ids to probabilities, as layers of Keras.

Layers can be folded. A graph with operators that this module does not know becomes one layer, which computes the graph
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow

from sentiment_conv1d.export.sources.saved_model.frozen import Frozen, skip_idle

#: The layers of operators that compute an activation.
_ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "Elu": lambda op: keras.layers.Activation("elu"),
    "LeakyRelu": lambda op: keras.layers.LeakyReLU(op.get_attr("alpha")),
    "Relu": lambda op: keras.layers.Activation("relu"),
    "Relu6": lambda op: keras.layers.Activation("relu6"),
    "Selu": lambda op: keras.layers.Activation("selu"),
    "Sigmoid": lambda op: keras.layers.Activation("sigmoid"),
    "Softmax": lambda op: keras.layers.Activation("softmax"),
    "Softplus": lambda op: keras.layers.Activation("softplus"),
    "Softsign": lambda op: keras.layers.Activation("softsign"),
    "Tanh": lambda op: keras.layers.Activation("tanh"),
}

_POOLINGS = {"Max": keras.layers.GlobalMaxPooling1D, "Mean": keras.layers.GlobalAveragePooling1D}

#: The types between which a cast of ids changes none.
_ID_TYPES = ("int32", "int64", "float32")


class _Unknown(Exception):
    """An operator has no layer of Keras that this module knows."""


def network(graph: Frozen, ids: Any) -> keras.Model:
    """Return the part of a graph after its tensor of ids, as a model over ids int32 [batch, sequence_length]."""
    tokens = keras.Input((ids.shape[1],), dtype="int32")
    try:
        return keras.Model(tokens, _Layers(graph, ids, tokens).of(graph.output))
    except _Unknown:
        return keras.Model(tokens, _unfolded(graph, ids, tokens))


def _unfolded(graph: Frozen, ids: Any, tokens: Any) -> Any:
    """Return the output of a layer that computes the graph itself, except for its last activation."""
    last = graph.output.op
    activation = _ACTIVATIONS.get(last.type)
    end = graph.output if activation is None else last.inputs[0]
    answer = Computation(graph.part(ids, end), ids.dtype)(tokens)
    return answer if activation is None else activation(last)(answer)


class Computation(keras.layers.Layer):  # type: ignore[misc]
    """A function of TensorFlow over ids of a type, as a layer without weights."""

    def __init__(self, function: Callable[[Any], Any], dtype: Any) -> None:
        super().__init__(name="computation", autocast=False)
        self._function, self._ids = function, dtype

    def call(self, tokens: Any) -> Any:
        return self._function(tensorflow.cast(tokens, self._ids))


class _Layers:
    """The outputs of Keras layers that compute the tensors of a graph."""

    def __init__(self, graph: Frozen, ids: Any, tokens: Any) -> None:
        self._graph, self._ids, self._tokens = graph, ids, tokens
        self._made: dict[str, Any] = {}

    def of(self, tensor: Any) -> Any:
        """Return the output of the layer that computes a tensor. Raises `_Unknown`."""
        tensor = skip_idle(tensor)
        if tensor.name not in self._made:
            self._made[tensor.name] = self._output(tensor.op)
        return self._made[tensor.name]

    def _output(self, op: Any) -> Any:
        if op.type in _ACTIVATIONS:
            return _ACTIVATIONS[op.type](op)(self.of(op.inputs[0]))
        if op.type in _POOLINGS:
            return self._pooled(op)
        makers = {
            "GatherV2": self._embedding,
            "Squeeze": self._convolution,
            "BatchToSpaceND": self._convolution,
            "MatMul": self._dense,
            "AddV2": self._affine,
            "BiasAdd": self._affine,
            "Sub": self._affine,
            "Mul": self._affine,
            "ConcatV2": self._joined,
        }
        if op.type not in makers:
            raise _Unknown
        return makers[op.type](op)

    def _constant(self, tensor: Any) -> npt.NDArray[Any]:
        constant = self._graph.constant(tensor)
        if constant is None:
            raise _Unknown
        return constant

    def _embedding(self, op: Any) -> Any:
        table = self._constant(op.inputs[0])
        if self._source(op.inputs[1]).name != self._ids.name or table.ndim != 2 or self._constant(op.inputs[2]) != 0:
            raise _Unknown
        return _weighted(keras.layers.Embedding(*table.shape), self._tokens, table)

    def _source(self, ids: Any) -> Any:
        """Return the tensor from which an embedding gets its ids.

        Keras casts ids, and adds the number of rows to negative ones, which no tokenizer returns.
        """
        ids = skip_idle(ids)
        if ids.op.type == "Cast" and ids.dtype.name in _ID_TYPES:
            return self._source(ids.op.inputs[0])
        if ids.op.type == "SelectV2":
            condition, _, others = ids.op.inputs
            test = skip_idle(condition).op
            is_negative = test.type == "Less" and test.inputs[0].name == others.name
            if is_negative and self._constant(test.inputs[1]) == 0:
                return self._source(others)
        return ids

    def _convolution(self, op: Any) -> Any:
        """Return a convolution. Between two operators that move steps to the batch and back, it is a dilated one."""
        squeeze = skip_idle(op.inputs[0]).op if op.type == "BatchToSpaceND" else op
        convolution = skip_idle(squeeze.inputs[0]).op
        if squeeze.type != "Squeeze" or convolution.type != "Conv2D":
            raise _Unknown
        expanded, kernel = skip_idle(convolution.inputs[0]).op, self._constant(convolution.inputs[1])
        is_1d = expanded.type == "ExpandDims" and self._axis(expanded, 4) == 1 and len(kernel) == 1
        padding = convolution.get_attr("padding").decode().lower()
        if not is_1d or convolution.get_attr("data_format") != b"NHWC" or padding not in ("valid", "same"):
            raise _Unknown
        stride, dilation = (convolution.get_attr(name)[2] for name in ("strides", "dilations"))
        inputs, added = skip_idle(expanded.inputs[0]), np.zeros(2, np.int64)
        if squeeze is not op:
            if inputs.op.type != "SpaceToBatchND" or (stride, dilation, padding) != (1, 1, "valid"):
                raise _Unknown
            dilation, added = self._moved(inputs.op, op)
            inputs = skip_idle(inputs.op.inputs[0])
        if inputs.op.type == "Pad":
            first, steps, last = self._constant(inputs.op.inputs[1])
            if first.any() or last.any():
                raise _Unknown
            inputs, added = inputs.op.inputs[0], added + steps
        _, width, channels, filters = kernel.shape
        if added.any():
            padding = _padding(padding, added.tolist(), (width - 1) * dilation, stride)
        read = self.of(inputs)
        if len(read.shape) != 3 or read.shape[-1] != channels:
            raise _Unknown
        layer = keras.layers.Conv1D(filters, width, stride, padding, dilation_rate=dilation, use_bias=False)
        return _weighted(layer, read, kernel[0])

    def _moved(self, to_batch: Any, back: Any) -> tuple[int, npt.NDArray[Any]]:
        """Return how many steps were moved to the batch, and the padding before and after that remains."""
        [steps], [back_steps] = (self._constant(op.inputs[1]).tolist() for op in (to_batch, back))
        [padding], [crop] = (self._constant(op.inputs[2]) for op in (to_batch, back))
        if steps != back_steps or crop[0] != 0:
            raise _Unknown
        return steps, padding - crop

    def _dense(self, op: Any) -> Any:
        kernel = self._constant(op.inputs[1])
        if op.get_attr("transpose_a") or op.get_attr("transpose_b"):
            raise _Unknown
        return _weighted(keras.layers.Dense(kernel.shape[1], use_bias=False), self.of(op.inputs[0]), kernel)

    def _pooled(self, op: Any) -> Any:
        read = self.of(op.inputs[0])
        if len(read.shape) != 3 or self._axis(op, 3) != 1 or op.get_attr("keep_dims"):
            raise _Unknown
        return _POOLINGS[op.type]()(read)

    def _joined(self, op: Any) -> Any:
        *parts, axis = op.inputs
        read = [self.of(part) for part in parts]
        if int(self._constant(axis)) not in (-1, len(read[0].shape) - 1):
            raise _Unknown
        return keras.layers.Concatenate()(read)

    def _affine(self, op: Any) -> Any:
        """Return a batch normalization for an operator that scales or shifts each feature by a constant."""
        tensor, constant = op.inputs
        if self._graph.constant(constant) is None and op.type != "Sub":
            tensor, constant = constant, tensor
        read, numbers = self.of(tensor), self._constant(constant)
        features = int(read.shape[-1])
        if numbers.shape[:-1].count(1) < numbers.ndim - 1 or numbers.size not in (1, features):
            raise _Unknown
        numbers = np.broadcast_to(numbers.reshape(-1), features).astype(np.float32)
        one, zero = np.ones(features, np.float32), np.zeros(features, np.float32)
        gamma, beta = {"Mul": (numbers, zero), "Sub": (one, -numbers)}.get(op.type, (one, numbers))
        return _weighted(keras.layers.BatchNormalization(epsilon=0), read, gamma, beta, zero, one)

    def _axis(self, op: Any, dimensions: int) -> int:
        """Return the only axis that an operator states in its second input, counted from the first of `dimensions`."""
        axes = self._constant(op.inputs[1]).reshape(-1)
        if len(axes) != 1:
            raise _Unknown
        return int(axes[0]) % dimensions


def _padding(padding: str, added: list[int], reach: int, stride: int) -> str:
    """Return the padding of a convolution before whose input zeros were added."""
    names = {(reach, 0): "causal"}
    if stride == 1:
        names[reach // 2, reach - reach // 2] = "same"
    before, after = added
    if padding != "valid" or (before, after) not in names:
        raise _Unknown
    return names[before, after]


def _weighted(layer: Any, read: Any, *weights: npt.NDArray[Any]) -> Any:
    """Return the output of a layer with these weights."""
    output = layer(read)
    layer.set_weights(weights)
    return output
