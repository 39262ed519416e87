"""Copies of a model in float32 over int32 ids, and what the copy changes.

The graphs that this project serves compute in float32, and the ids that it sends are int32.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow

from sentiment_conv1d.export.errors import ExportError, quoted
from sentiment_conv1d.export.recognition.connections import embeddings, layers

_FLOATS = re.compile(r"^b?float\d+$")
_INTEGERS = ("int", "uint", "bool", "string")

#: The largest accepted change of an answer to generated ids, and their number of rows. Rounding to bfloat16 changes
#: answers by hundredths.
_MAX_DIFFERENCE, _ROWS = 0.1, 64


def other_types(model: Any) -> list[str]:
    """Return the floating-point types other than float32 in which a model has weights or computes."""
    types = {str(weight.dtype) for weight in model.weights}
    types |= {str(each.compute_dtype) for each in layers(model)}
    return sorted(name for name in types if _FLOATS.match(name) and name != "float32")


def copy_in_float32(path: Path, model: Any, sequence_length: int | None) -> Any:
    """Rebuild a model in float32 over int32 [batch, sequence_length]; None keeps any sequence length.

    Raises `ExportError`.
    """

    def in_float32(layer: Any) -> Any:
        # The operations that compute a mask have no data type.
        dtype = {"dtype": "float32"} if isinstance(layer, keras.layers.Layer) else {}
        return type(layer).from_config(_inner_in_float32(layer.get_config()) | dtype)

    try:
        copy = keras.models.clone_model(
            model,
            input_tensors=keras.Input((sequence_length,), dtype="int32"),
            clone_function=in_float32,
            recursive=True,
        )
        copy.set_weights([np.asarray(weight, np.float32) for weight in model.get_weights()])
    except Exception as error:
        raise ExportError(
            f"{path}: the model cannot be rebuilt in float32 over {sequence_length or 'any number of'} ids",
            "check --max-tokens, or save it in float32 with a fixed sequence length",
        ) from error
    return copy


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
    """Return how far answers of the copy to generated ids are from those of the model, which computes in `types`.

    Raises `ExportError` if the model cannot be run, or a difference is not due to rounding the weights.
    """
    rows = min((int(each.input_dim) for each in embeddings(copy)), default=2)
    ids = np.random.default_rng(0).integers(0, rows, (_ROWS, copy.inputs[0].shape[1]), np.int32)
    try:
        answers = [np.asarray(each(ids, training=False), np.float64) for each in (model, copy)]
    except Exception as error:  # TensorFlow raises errors of many classes
        raise ExportError(f"{path}: the model cannot be run: {quoted(error)}", "save it in float32") from error
    difference = float(np.abs(answers[0] - answers[1]).max())
    if not difference <= _MAX_DIFFERENCE:  # negated, so that NaN fails
        raise ExportError(
            f"{path}: in float32, answers change by up to {difference:.2g}: the model depends on how "
            f"{', '.join(types)} rounds weights or ids",
            "train it in float32, or with keras.Input(..., dtype='int32') if ids are rounded",
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
