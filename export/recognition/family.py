"""The Conv1D family: Embedding -> Conv1D, one or several in parallel -> global pooling -> dense layers.

Only a model of this family can be folded. It is recognized by its layers and their connections, however it was built.
Inner models count as their layers, layers that do nothing after training are skipped, and batch normalizations are
merged into the weights before or after them. Layers that read each word alone become part of the embedding. A sum of
shifted embeddings is a convolution of look-up tables, and several embeddings are one with all their columns. A subclass
of a layer is not accepted, because it may compute anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.layers import (
    ACTIVATIONS,
    QUASICONVEX,
    Bank,
    Dense,
    Family,
    Pooling,
    Weights,
    apply,
    parse,
)
from sentiment_conv1d.export.recognition.activations import UnknownActivation, function_activations, layer_activations
from sentiment_conv1d.export.recognition.affine import (
    Affine,
    Numbers,
    merged_into_inputs,
    merged_into_outputs,
    normalization,
)
from sentiment_conv1d.export.recognition.connections import Tensor, producer, skip_idle, source

#: The pooling over the text that each layer computes.
_POOLINGS: dict[type, Pooling] = {
    keras.layers.GlobalMaxPooling1D: "max",
    keras.layers.GlobalAveragePooling1D: "mean",
}


class _Unsupported(Exception):
    """The model does not belong to the family; the message says why."""


def recognize(model: keras.Model, max_tokens: int | None = None, padding_id: int = 0) -> tuple[Family | None, str]:
    """Return the model as a `Family` and an empty string, or None and the reason why it does not belong to the family.

    `max_tokens` is the sequence length for a model that takes any, as with `keras.Input((None,))`. `padding_id` pads
    short texts.
    """
    try:
        return replace(_recognize(model, max_tokens), padding_id=padding_id), ""
    except _Unsupported as unsupported:
        return None, str(unsupported)


def _recognize(model: keras.Model, max_tokens: int | None) -> Family:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise _Unsupported("it has several inputs or outputs")
    tokens = model.inputs[0]
    if len(tokens.shape) != 2:
        raise _Unsupported(f"its input has shape {tokens.shape}, not [batch, sequence_length]")
    sequence_length = tokens.shape[1] or max_tokens
    if sequence_length is None:
        raise _Unsupported(f"its input has shape {tokens.shape}, and no sequence length is given")
    head, features = _head(Tensor(model.outputs[0]))
    branches = _branches(features)
    if any(branch.words.tokens is not tokens for branch in branches):
        raise _Unsupported(f"layer {branches[0].words.name} does not read the model's input everywhere")
    embedding, branches = _one_embedding(branches)
    for branch in branches:
        if branch.bank.span > sequence_length + sum(branch.bank.padding):
            raise _Unsupported(f"a filter spans {branch.bank.span} words, and the sequence length is {sequence_length}")
    banks, head = _joined(branches, head)
    return Family(int(sequence_length), embedding, tuple(banks), tuple(head))


@dataclass(frozen=True)
class _Words:
    """What a convolution reads: one vector for each id."""

    name: str  # of the last layer that computes the vectors
    table: Numbers  # [vocabulary, embedding]
    tokens: Any  # the tensor of ids


@dataclass(frozen=True)
class _Filters:
    """A convolution, or a dense layer, which is a convolution of width 1."""

    layer: Any
    kernel: Weights  # [width, inputs, filters]
    bias: Weights  # [filters]
    activations: tuple[str, ...]
    after: Affine | None  # a normalization after the activations
    inputs: Tensor | _Words


@dataclass(frozen=True)
class _Branch:
    """A pooled convolution."""

    bank: Bank
    before_pooling: Affine | None  # after the activations
    after_pooling: Affine | None
    words: _Words


@dataclass(frozen=True)
class _Steps:
    """The activations and normalizations after a layer with weights, in order, and the layer itself."""

    steps: list[str | Affine]
    layer: Any
    inputs: list[Tensor]
    tensor: Tensor  # the output of the layer


def _head(tensor: Tensor) -> tuple[list[Dense], Tensor]:
    """Return the dense layers before the output, first to last, and the features that they read.

    A model without a dense layer gets one that returns the features unchanged.
    """
    layers: list[Dense] = []
    while True:
        found = _steps(tensor)
        if type(found.layer) is not keras.layers.Dense:
            break
        kernel, bias = _weight(found.layer, "kernel"), _bias(found.layer)
        dense, after = _dense(kernel, bias, [*_activation(found.layer), *found.steps])
        layers.insert(0, dense)
        if after is not None:
            if len(layers) == 1:
                raise _Unsupported(f"layer {after.name} comes after the last activation")
            layers[1] = merged_into_inputs(after, layers[1])
        tensor = found.inputs[0]
    if layers:
        return layers, tensor
    if type(found.layer) not in (*_POOLINGS, keras.layers.Concatenate):
        raise _Unsupported(f"layer {found.layer.name} is where a dense layer should be")
    size = int(found.tensor.value.shape[-1])
    dense, after = _dense(np.eye(size, dtype=np.float32), np.zeros(size, np.float32), found.steps)
    if after is not None:
        raise _Unsupported(f"layer {after.name} comes after the last activation")
    return [dense], found.tensor


def _dense(kernel: Weights, bias: Weights, steps: list[str | Affine]) -> tuple[Dense, Affine | None]:
    """Return a dense layer with the steps after it, and the normalization that is left for the next layer."""
    kernel, bias, activations, after = _merged(kernel, bias, steps)
    return Dense(kernel, bias, activations), after


def _merged(
    kernel: Weights, bias: Weights, steps: list[str | Affine]
) -> tuple[Weights, Weights, tuple[str, ...], Affine | None]:
    """Merge the normalizations before the first activation; returns the activations and the last normalization too."""
    activations: list[str] = []
    after: Affine | None = None
    for step in steps:
        if isinstance(step, Affine):
            if activations:
                after = step if after is None else after.then(step)
            else:
                kernel, bias = merged_into_outputs(step, kernel, bias)
        elif after is not None:
            raise _Unsupported(f"layer {after.name} is between two activations")
        else:
            activations.append(step)
    return kernel, bias, tuple(activations), after


def _branches(tensor: Tensor) -> list[_Branch]:
    """Return the pooled convolutions in the order in which the first dense layer reads them."""
    found = _steps(tensor)
    if type(found.layer) is not keras.layers.Concatenate:
        return [_branch(tensor, [])]
    if found.layer.axis not in (-1, 1):
        raise _Unsupported(f"layer {found.layer.name} concatenates along axis {found.layer.axis}")
    branches = []
    first = 0
    for each in found.inputs:
        own = slice(first, first + int(each.value.shape[-1]))
        first = own.stop
        steps = [step.of(own) if isinstance(step, Affine) else step for step in found.steps]
        branches.append(_branch(each, steps))
    return branches


def _branch(tensor: Tensor, following: list[str | Affine]) -> _Branch:
    """Return a pooled convolution. `following` are the steps after its output."""
    pooled = _steps(tensor)
    _check_pooling(pooled)
    pooling = pooled.layer
    found = _composed(_filters(_steps(pooled.inputs[0])))
    layer, activations, before_pooling = found.layer, found.activations, found.after
    *_, later, after_pooling = _merged(found.kernel, found.bias, ["Identity", *pooled.steps, *following])
    later = later[1:]
    if not {parse(each)[0] for each in (*activations, *later)} <= set(ACTIVATIONS):
        raise _Unsupported(f"layer {layer.name} has a softmax over its filters")
    kind = _POOLINGS[type(pooling)]
    if kind == "mean" and later:
        raise _Unsupported(f"layer {pooling.name} averages before an activation")
    if kind == "max" and (len(_quasiconvex(activations)) > 1 or _quasiconvex(later)):
        raise _Unsupported(f"layer {layer.name} has activations that do not commute with pooling")
    if later and before_pooling is not None:
        raise _Unsupported(f"layer {before_pooling.name} is between two activations")
    bank = Bank(found.kernel, found.bias, (*activations, *later), pooling=kind, name=layer.name)
    if type(layer) is keras.layers.Conv1D:
        bank = replace(bank, dilation=int(layer.dilation_rate[0]))
        bank = replace(bank, padding=_padding(layer.padding, bank.span))
    words = found.inputs if isinstance(found.inputs, _Words) else _words(found.inputs)
    return _Branch(bank, before_pooling, after_pooling, words)


def _one_embedding(branches: list[_Branch]) -> tuple[Weights, list[_Branch]]:
    """Return an embedding with the columns of all that the branches read, and the branches with kernels for it."""
    tables: list[Numbers] = []
    places: list[int] = []  # of the table that each branch reads
    for branch in branches:
        table = branch.words.table
        place = next((place for place, other in enumerate(tables) if np.array_equal(table, other)), len(tables))
        if place == len(tables):
            tables.append(table)
        places.append(place)
    if len({len(table) for table in tables}) > 1:
        names = sorted({branch.words.name for branch in branches})
        raise _Unsupported(f"its convolutions read embeddings of different vocabularies: {', '.join(names)}")
    ends = np.cumsum([table.shape[1] for table in tables])
    joined = []
    for branch, place in zip(branches, places, strict=True):
        width, inputs, filters = branch.bank.kernel.shape
        kernel = np.zeros((width, ends[-1], filters), np.float32)
        kernel[:, ends[place] - inputs : ends[place]] = branch.bank.kernel
        joined.append(replace(branch, bank=replace(branch.bank, kernel=kernel)))
    return np.concatenate(tables, axis=1).astype(np.float32), joined


def _composed(found: _Filters) -> _Filters:
    """Return a convolution of width 1 and the convolutions without an activation before it as one."""
    while len(found.kernel) == 1 and isinstance(found.inputs, Tensor):
        before = _steps(found.inputs)
        if _kernel(before.layer) is None:
            break
        previous = _filters(before)
        if previous.activations and len(previous.kernel) > 1:
            raise _Unsupported(
                f"layer {found.layer.name} has width 1 and follows the activation of layer {previous.layer.name}"
            )
        if previous.activations:
            break
        weights = found.kernel[0].astype(np.float64)
        found = replace(
            previous,
            kernel=(previous.kernel @ weights).astype(np.float32),
            bias=(previous.bias @ weights + found.bias).astype(np.float32),
            activations=found.activations,
            after=found.after,
        )
    return found


def _words(tensor: Tensor) -> _Words:
    """Return the vectors that a convolution reads. Layers that read each word alone are computed for every id."""
    found = _steps(tensor)
    steps, kernel = found.steps, _kernel(found.layer)
    table: Numbers
    if type(found.layer) is keras.layers.Embedding:
        table, tokens = _weight(found.layer, "embeddings").astype(np.float64), source(found.inputs[0])
    elif kernel is not None and len(kernel) == 1:
        words, layer = _words(found.inputs[0]), _inner(found.layer)
        table, tokens = words.table @ kernel[0] + _bias(layer), words.tokens
        steps = [*_activation(layer), *steps]
    else:
        raise _Unsupported(f"layer {found.layer.name} is where an embedding should be")
    for step in steps:
        if isinstance(step, Affine):
            table = table * step.scale + step.shift
        elif parse(step)[0] in ACTIVATIONS:
            table = apply((step,), table.astype(np.float32)).astype(np.float64)
        else:
            raise _Unsupported(f"layer {found.layer.name} has a softmax over the vector of a word")
    return _Words(producer(skip_idle(tensor))[0].name, table, tokens)


def _filters(found: _Steps) -> _Filters:
    kernel, layer = _kernel(found.layer), _inner(found.layer)
    if kernel is None:
        return _of_tables(found)
    merged = _merged(kernel, _bias(layer), [*_activation(layer), *found.steps])
    return _Filters(layer, *merged, found.inputs[0])


def _of_tables(found: _Steps) -> _Filters:
    """Return the convolution that an embedding is, or the sum of embeddings of the first, second, ... word of a window.

    Each number of an embedding belongs to one filter and one place in the window.
    """
    if type(found.layer) not in (keras.layers.Add, keras.layers.Embedding):
        raise _Unsupported(f"layer {found.layer.name} is where a convolution should be")
    taps = [_tap(each) for each in found.inputs] if type(found.layer) is keras.layers.Add else [_tap(found.tensor)]
    width = len(taps)
    by_place = dict(taps)
    if sorted(by_place) != [(place, width - 1 - place) for place in range(width)]:
        raise _Unsupported(f"layer {found.layer.name} does not add the first, second, ... word of a window")
    words = [by_place[place] for place in sorted(by_place)]
    if any(each.tokens is not words[0].tokens for each in words):
        raise _Unsupported(f"layer {found.layer.name} adds words of different inputs")
    if len({each.table.shape for each in words}) > 1:
        raise _Unsupported(f"layer {found.layer.name} adds embeddings of different shapes")
    filters = words[0].table.shape[1]
    kernel = np.eye(width * filters, dtype=np.float32).reshape(width, filters, width * filters).transpose(0, 2, 1)
    merged = _merged(kernel, np.zeros(filters, np.float32), found.steps)
    table = np.concatenate([each.table for each in words], axis=1)
    return _Filters(found.layer, *merged, _Words(words[0].name, table, words[0].tokens))


def _tap(tensor: Tensor) -> tuple[tuple[int, int], _Words]:
    """Return the embedding of a place in a window, and how many words it leaves out at the start and the end."""
    layer, inputs = producer(skip_idle(tensor))
    if type(layer) is keras.layers.Cropping1D:
        return tuple(layer.cropping), _words(inputs[0])
    return (0, 0), _words(tensor)


def _kernel(layer: Any) -> Weights | None:
    """Return the kernel [width, inputs, filters] of a convolution or of a dense layer; None for any other layer."""
    layer = _inner(layer)
    if type(layer) is keras.layers.Dense:
        return _weight(layer, "kernel")[np.newaxis]
    if type(layer) is not keras.layers.Conv1D:
        return None
    for name, value in {"strides": (1,), "groups": 1, "data_format": "channels_last"}.items():
        if getattr(layer, name) != value:
            raise _Unsupported(f"layer {layer.name} has {name} {getattr(layer, name)}")
    return _weight(layer, "kernel")


def _inner(layer: Any) -> Any:
    """Return the dense layer in a `TimeDistributed` one, which computes the same; any other layer as it is."""
    if type(layer) is keras.layers.TimeDistributed and type(layer.layer) is keras.layers.Dense:
        return layer.layer
    return layer


def _check_pooling(pooled: _Steps) -> None:
    pooling = pooled.layer
    if type(pooling) not in _POOLINGS:
        raise _Unsupported(f"layer {pooling.name} is where a global pooling layer should be")
    if len(pooled.inputs) > 1:
        raise _Unsupported(f"layer {pooling.name} reads a mask")
    if pooling.data_format != "channels_last" or pooling.keepdims:
        raise _Unsupported(f"layer {pooling.name} keeps its dimensions or pools along the channels")


def _padding(padding: str, span: int) -> tuple[int, int]:
    """Return the numbers of zero vectors that Keras puts before and after the text."""
    if padding == "causal":
        return span - 1, 0
    if padding == "same":
        return (span - 1) // 2, span // 2
    return 0, 0


def _quasiconvex(activations: tuple[str, ...]) -> list[str]:
    return [each for each in activations if parse(each)[0] in QUASICONVEX]


def _joined(branches: list[_Branch], head: list[Dense]) -> tuple[list[Bank], list[Dense]]:
    """Merge the normalizations after the banks' activations into the head; returns the banks and the head.

    A normalization with a negative scale turns a minimum into a maximum. The minimum of a filter is the negated maximum
    of the filter with its signs changed, so such filters become a separate bank. An average needs no such change.
    """
    banks: list[Bank] = []
    rows: list[npt.NDArray[np.intp]] = []
    affines: list[Affine] = []
    first = 0
    for branch in branches:
        bank, filters = branch.bank, len(branch.bank.bias)
        affine = Affine("", np.ones(filters), np.zeros(filters))
        falling = np.zeros(filters, bool)
        for each in (branch.before_pooling, branch.after_pooling):
            affine = affine if each is None else affine.then(each)
        if branch.before_pooling is not None and bank.pooling == "max":
            falling = branch.before_pooling.scale < 0
        if falling.any() and bank.quasiconvex:
            raise _Unsupported(f"layer {affine.name} has negative scales behind {bank.activations[0].lower()}")
        for chosen, sign in ((~falling, 1), (falling, -1)):
            if chosen.any():
                activations = bank.activations if sign == 1 else ("Neg", *bank.activations)
                kernel, bias = sign * bank.kernel[:, :, chosen], sign * bank.bias[chosen]
                banks.append(replace(bank, kernel=kernel, bias=bias, activations=activations))
                rows.append(first + np.flatnonzero(chosen))
        affines.append(affine)
        first += filters
    joined = Affine("", *(np.concatenate(parts) for parts in zip(*((a.scale, a.shift) for a in affines), strict=True)))
    dense = merged_into_inputs(joined, head[0])
    return banks, [replace(dense, kernel=dense.kernel[np.concatenate(rows)]), *head[1:]]


def _steps(tensor: Tensor) -> _Steps:
    steps: list[str | Affine] = []
    while True:
        tensor = skip_idle(tensor)
        layer, inputs = producer(tensor)
        try:
            activations = layer_activations(layer)
        except UnknownActivation as unknown:
            raise _Unsupported(f"layer {layer.name} has the activation {str(unknown)!r}") from None
        affine = normalization(layer, len(tensor.value.shape))
        if affine is not None:
            steps.insert(0, affine)
        elif activations is not None:
            steps[:0] = activations
        else:
            return _Steps(steps, layer, inputs, tensor)
        tensor = inputs[0]


def _activation(layer: Any) -> tuple[str, ...]:
    try:
        return function_activations(layer.activation)
    except UnknownActivation as unknown:
        raise _Unsupported(f"layer {layer.name} has the activation {str(unknown)!r}") from None


def _bias(layer: Any) -> Weights:
    return _weight(layer, "bias") if layer.use_bias else np.zeros(layer.kernel.shape[-1], np.float32)


def _weight(layer: Any, name: str) -> Weights:
    if getattr(layer, "quantization_mode", None) is not None:
        raise _Unsupported(f"layer {layer.name} is quantized")
    return np.asarray(getattr(layer, name), np.float32)
