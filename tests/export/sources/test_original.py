"""The ids of a model's own `TextVectorization` layer, with which those of the tokenizer are compared."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from sentiment_conv1d.export.sources.original import reading_ids

TEXTS = ["the good film", "", "film unheard of"]


@pytest.mark.parametrize("ragged", [False, True])
def test_ids_without_padding(ragged: bool) -> None:
    """A layer without a length, and one whose user pads the ids, gives the same ids and answers."""
    layer = keras.layers.TextVectorization(vocabulary=["the", "good", "film"], ragged=ragged)
    model = keras.Sequential(
        [keras.Input((None,), dtype="int64"), keras.layers.Embedding(5, 2), keras.layers.GlobalMaxPooling1D()]
    )
    original = reading_ids(model, layer)
    assert [ids.tolist() for ids in original.ids(TEXTS)] == [[2, 3, 4], [], [4, 1, 1]]
    [answer] = original.predict(TEXTS[:1])
    np.testing.assert_array_equal(answer, model(tf.constant([[2, 3, 4]]))[0])
