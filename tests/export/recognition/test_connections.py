"""Which layers read what, from the output of a model back to its input."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from sentiment_conv1d.export.recognition.connections import embeddings


@pytest.mark.parametrize("nested", [False, True])
def test_embeddings_of_the_ids(nested: bool) -> None:
    """Embeddings of positions or of hashed ids do not limit the ids, those of the ids themselves do."""
    ids = keras.Input((6,), dtype="int32")
    positions = keras.ops.cumsum(keras.ops.ones_like(ids), axis=1) - 1
    words = layers.Embedding(50, 4, name="words")
    read = keras.Sequential([keras.Input((6,), dtype="int32"), words])(ids) if nested else words(ids)
    again = words(ids)
    value = read + again + layers.Embedding(6, 4)(positions) + layers.Embedding(7, 4)(ids % 7)
    model = keras.Model(ids, layers.Dense(1, "sigmoid")(layers.GlobalMaxPooling1D()(value)))
    assert {each.name for each in embeddings(model)} == {"words"}
