"""Files of Keras 2 and models with other ends are read as the models that they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from sentiment_conv1d.export.sources.keras_files import import_model, load
from tests.export.keras2 import save_as_keras_2

LENGTH, ROWS = 6, 12
IDS = np.random.default_rng(0).integers(0, ROWS, (8, LENGTH), np.int32)


@pytest.mark.parametrize("version", ["2.2.0", "2.15.0"])
@pytest.mark.parametrize("kind", ["separable", "lstm"])
def test_arguments_that_keras_3_does_not_know(kind: str, version: str, tmp_path: Path) -> None:
    """A file of Keras 2 is read although its layers have arguments that Keras 3 refuses."""
    body: list[Any] = {
        "separable": lambda: [layers.SeparableConv1D(5, 3), layers.SpatialDropout1D(0.2), layers.GlobalMaxPooling1D()],
        "lstm": lambda: [layers.LSTM(4)],
    }[kind]()
    chain = [layers.Embedding(ROWS, 4), *body, layers.Dense(1, "sigmoid")]
    model = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), *chain])
    save_as_keras_2(model, tmp_path / "model.h5", version)
    np.testing.assert_array_equal(load(tmp_path / "model.h5")(IDS), model(IDS))


@pytest.mark.parametrize("length", [LENGTH, None])
@pytest.mark.parametrize("ends", [lambda name, end: [end], lambda name, end: {name: end}])
def test_ends_in_a_container(ends: Any, length: int | None, tmp_path: Path) -> None:
    """A model whose input and output are in a list or a dictionary is imported as one without."""
    ids = keras.Input((length,), dtype="int32", name="ids")
    answer = layers.Dense(1, "sigmoid")(layers.GlobalMaxPooling1D()(layers.Embedding(ROWS, 4)(ids)))
    keras.Model(ends("ids", ids), ends("answer", answer)).save(tmp_path / "model.keras")
    imported = import_model(tmp_path / "model.keras", LENGTH)
    assert imported.max_tokens == LENGTH
    np.testing.assert_allclose(imported.model.predict_on_batch(IDS), keras.Model(ids, answer)(IDS), atol=1e-6)
