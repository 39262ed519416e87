"""Copies of a model in float32 over int32 ids, and what the copy changes.

The graphs that this project serves compute in float32, and the ids that it sends are int32. ONNX Runtime runs
convolutions with groups, but Keras compiles them in a way that cannot be exported, so a copy has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow

from sentiment_conv1d.export.errors import ExportError, quoted
from sentiment_conv1d.export.recognition.connections import embeddings, layers

_FLOATS = re.compile(r"^b?float\d+$")
_INTEGERS = ("int", "uint", "bool", "string")

#: The largest accepted change of an answer to generated ids if weights are rounded, and if they are not, and the number
#: of rows of ids. Rounding to bfloat16 changes answers by hundredths.
_ROUNDED, _EQUAL, _ROWS = 0.1, 1e-4, 64

#: Convolutions whose kernels are [..., inputs of a group, filters].
_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D)


def other_types(model: Any) -> list[str]:
    """Return the floating-point types other than float32 in which a model has weights or computes."""
    types = {str(weight.dtype) for weight in model.weights}
    types |= {str(each.compute_dtype) for each in layers(model)}
    return sorted(name for name in types if _FLOATS.match(name) and name != "float32")


def grouped(model: Any) -> list[Any]:
    """Return the convolutions of a model that have groups."""
    return [each for each in layers(model) if type(each) in _CONVOLUTIONS and each.groups > 1]


def copy_in_float32(path: Path, model: Any, sequence_length: int | None) -> Any:
    """Rebuild a model in float32 over int32 [batch, sequence_length]; None keeps any sequence length.

    A convolution with groups becomes one without them, whose kernel is zero between the groups. Raises `ExportError`.
    """
    without_groups = grouped(model)

    def in_float32(layer: Any) -> Any:
        # The operations that compute a mask have no data type.
        dtype = {"dtype": "float32"} if isinstance(layer, keras.layers.Layer) else {}
        groups = {"groups": 1} if layer in without_groups else {}
        return type(layer).from_config(_inner_in_float32(layer.get_config()) | dtype | groups)

    try:
        copy = keras.models.clone_model(
            model,
            input_tensors=keras.Input((sequence_length,), dtype="int32"),
            clone_function=in_float32,
            recursive=True,
        )
        copy.set_weights(
            [
                block_diagonal(np.asarray(weight, np.float32), new.shape)
                for weight, new in zip(model.get_weights(), copy.weights, strict=True)
            ]
        )
    except Exception as error:
        raise ExportError(
            f"{path}: the model cannot be rebuilt in float32 over {sequence_length or 'any number of'} ids",
            "check --max-tokens, or save it in float32 with a fixed sequence length",
        ) from error
    return copy


def block_diagonal(weight: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return a kernel [..., inputs of a group, filters] with zeros for the inputs of the other groups.

    A weight that has this shape already is returned as it is.
    """
    if weight.shape == shape:
        return weight
    *window, inputs, filters = shape
    groups = inputs // weight.shape[-2]
    blocks = np.zeros((*window, groups, inputs // groups, groups, filters // groups), np.float32)
    for group, own in enumerate(np.split(weight, groups, axis=-1)):
        blocks[..., group, :, group, :] = own
    return blocks.reshape(shape)


def _inner_in_float32(value: Any) -> Any:
    """Return a configuration in which layers within a layer, such as that of `Bidirectional`, compute in float32."""
    if isinstance(value, list):
        return [_inner_in_float32(each) for each in value]
    if not isinstance(value, dict):
        return value
    changed = {name: _inner_in_float32(each) for name, each in value.items()}
    inner = changed.get("config")
    if isinstance(inner, dict) and "dtype" in inner and not str(inner["dtype"]).startswith(_INTEGERS):
        inner["dtype"] = "float32"
    return changed


def largest_difference(path: Path, model: Any, copy: Any, types: Sequence[str]) -> float:
    """Return how far answers of the copy to generated ids are from those of the model.

    `types` are the types other than float32 in which the model computes. Raises `ExportError` if the model cannot be
    run, or a difference is not due to rounding.
    """
    rows = min((int(each.input_dim) for each in embeddings(copy)), default=2)
    ids = np.random.default_rng(0).integers(0, rows, (_ROWS, copy.inputs[0].shape[1]), np.int32)
    try:
        answers = [np.asarray(each(ids, training=False), np.float64) for each in (model, copy)]
    except Exception as error:  # TensorFlow raises errors of many classes
        raise ExportError(f"{path}: the model cannot be run: {quoted(error)}", "save it in float32") from error
    difference = float(np.abs(answers[0] - answers[1]).max())
    # Negated, so that NaN fails.
    if types and not difference <= _ROUNDED:
        raise ExportError(
            f"{path}: in float32, answers change by up to {difference:.2g}: the model depends on how "
            f"{', '.join(types)} rounds weights or ids",
            "train it in float32, or with keras.Input(..., dtype='int32') if ids are rounded",
        )
    if not types and not difference <= _EQUAL:
        raise ExportError(
            f"{path}: without groups, answers of the convolutions change by up to {difference:.2g}",
            "report a bug in the export with the model",
        )
    return difference


def check_ids(path: Path, types: Iterable[str], vocabulary_size: int) -> None:
    """Raise `ExportError` if a type to which Keras casts ids cannot represent all of them."""
    ids = np.arange(vocabulary_size)
    for each in types:
        changed = np.flatnonzero(tensorflow.cast(tensorflow.cast(ids, each), ids.dtype) != ids)
        if len(changed):
            raise ExportError(
                f"{path}: the model reads ids as {each}, which cannot represent the id {changed[0]:,}",
                "build the model with keras.Input(..., dtype='int32') and no cast before the embedding, and train it "
                "again",
            )
