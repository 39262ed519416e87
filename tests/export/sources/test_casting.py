"""A model with weights of another type becomes one in float32, or is refused if its ids or answers would change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from sentiment_conv1d.export.errors import ExportError
from sentiment_conv1d.export.sources.casting import (
    check_ids,
    copy_in_float32,
    grouped,
    largest_difference,
    other_types,
)

LENGTH, FILE = 6, Path("model.keras")


def network(*body: Any, rows: int, dtype: str, input_type: str = "int32") -> keras.Model:
    """Build a classifier whose answers depend on every id."""
    keras.utils.set_random_seed(3)
    spread = keras.initializers.RandomUniform(-1, 1)
    embedding = layers.Embedding(rows, 4, embeddings_initializer=spread, dtype=dtype)
    answer = layers.Dense(1, "sigmoid", kernel_initializer=spread, dtype=dtype)
    return keras.Sequential([keras.Input((LENGTH,), dtype=input_type), embedding, *body, answer])


@pytest.mark.parametrize("kind", ["bidirectional", "time distributed", "cells"])
def test_layers_within_layers(kind: str) -> None:
    """A copy computes in float32 everywhere, also in a layer that another one contains."""
    policy = "mixed_float16"
    inner: dict[str, Callable[[], list[Any]]] = {
        "bidirectional": lambda: [layers.Bidirectional(layers.LSTM(3, dtype=policy), dtype=policy)],
        "time distributed": lambda: [
            layers.TimeDistributed(layers.Dense(3, dtype=policy), dtype=policy),
            layers.GlobalMaxPooling1D(dtype=policy),
        ],
        "cells": lambda: [
            layers.RNN([layers.LSTMCell(3, dtype=policy), layers.GRUCell(3, dtype=policy)], dtype=policy)
        ],
    }
    model = network(*inner[kind](), rows=20, dtype=policy)
    copy = copy_in_float32(FILE, model, LENGTH)
    assert other_types(model) == ["float16"]
    assert 0 < largest_difference(FILE, model, copy, ["float16"]) < 5e-3
    computed = {layer.compute_dtype for layer in copy._flatten_layers() if type(layer) is not layers.InputLayer}
    assert computed == {"float32"}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_convolutions_with_groups(dtype: str) -> None:
    """A copy has one kernel with zeros between the groups, and the same answers."""
    inner = keras.Sequential([layers.Conv1D(6, 2, groups=2, name="grouped", dtype=dtype)])
    pooling = layers.GlobalMaxPooling1D(dtype=dtype)
    model = network(inner, pooling, rows=20, dtype=dtype)
    copy = copy_in_float32(FILE, model, LENGTH)
    assert [each.name for each in grouped(model)] == ["grouped"]
    assert grouped(copy) == []
    assert largest_difference(FILE, model, copy, other_types(model)) < (1e-6 if dtype == "float32" else 5e-3)


def test_a_copy_that_differs() -> None:
    """A copy of a model in float32 must give the same answers."""
    model = network(layers.GlobalMaxPooling1D(), rows=20, dtype="float32")
    copy = copy_in_float32(FILE, model, LENGTH)
    copy.weights[-1].assign([0.1])
    with pytest.raises(ExportError, match="without groups, answers of the convolutions change by up to"):
        largest_difference(FILE, model, copy, [])


def test_ids_that_are_rounded() -> None:
    """A model that reads its ids in half precision takes different words for the same; its copy would not."""
    model = network(layers.GlobalMaxPooling1D(dtype="bfloat16"), rows=3000, dtype="bfloat16", input_type="bfloat16")
    copy = copy_in_float32(FILE, model, LENGTH)
    with pytest.raises(ExportError, match=r"in float32, answers change by up to 0\.\d+: the model depends on how"):
        largest_difference(FILE, model, copy, ["bfloat16"])


@pytest.mark.parametrize(
    ("input_type", "largest"), [("uint8", 255), ("int16", 32767), ("float16", 2048), ("bfloat16", 256)]
)
def test_input_types(input_type: str, largest: int) -> None:
    """An input type that cannot represent every id of the vocabulary is refused."""
    check_ids(FILE, [input_type], largest + 1)
    with pytest.raises(ExportError, match=f"as {input_type}, which cannot represent the id {largest + 1:,}"):
        check_ids(FILE, [input_type], largest + 2)
    for exact in ("int32", "int64", "float32"):
        check_ids(FILE, [exact], 100_000)


def test_a_model_that_cannot_be_run() -> None:
    """A model that fails on ids of its embedding is refused with one line."""
    model = network(layers.Flatten(dtype="float16"), rows=20, dtype="float16")
    copy = copy_in_float32(FILE, model, LENGTH)
    model.layers[0].embeddings.assign(np.full((20, 4), np.nan))
    with pytest.raises(ExportError, match="answers change by up to nan"):
        largest_difference(FILE, model, copy, ["float16"])
