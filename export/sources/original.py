"""The original model on texts: its own ids and answers, to compare the tokenizer and the graph with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow

from sentiment_conv1d.export.sources.vectorization import known_words, output_length

#: Texts that a model answers together, if the answer to one does not depend on the others, and texts that its layer
#: reads together.
_BATCH, _READ = 64, 1024


@dataclass(frozen=True)
class Original:
    """A model that reads texts.

    `limit` is the number of ids to which it pads and truncates every text. Without a limit, Keras pads a text to the
    longest of its batch and truncates none, so every text is answered alone.
    """

    run: Callable[[Any], Any]  # a string tensor [batch] -> probabilities [batch, outputs]
    read: Callable[[Any], Any]  # a string tensor [batch] -> ids [batch, tokens], padded with zeros
    reader: str  # what makes ids from texts, for messages
    words: Sequence[str]  # that it knows
    limit: int | None
    texts: int = 100  # how many are generated to compare answers to

    def followed_by(self, activation: Callable[[Any], Any]) -> Original:
        """Return the same model with an activation after its outputs."""
        run = self.run
        return replace(self, run=lambda texts: activation(run(texts)))

    def ids(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """Return the ids of each text, int32 [tokens, at most `limit`], without padding."""
        blocks = (texts[start : start + _READ] for start in range(0, len(texts), _READ))
        rows = (row for block in blocks for row in np.asarray(self.read(tensorflow.constant(block)), np.int32))
        return [np.trim_zeros(row, "b") for row in rows]

    def predict(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32] | None]:
        """Return the probabilities float32 [outputs] of each text, or None if the model fails on the text alone."""
        size = 1 if self.limit is None else _BATCH
        blocks = (texts[start : start + size] for start in range(0, len(texts), size))
        return [answer for block in blocks for answer in self._block(block)]

    def _block(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32] | None]:
        try:
            return list(np.asarray(self.run(tensorflow.constant(texts)), np.float32))
        except Exception:
            # TensorFlow raises errors of many classes, for example for a text shorter than a filter.
            if len(texts) == 1:
                return [None]
        return [answer for text in texts for answer in self._block([text])]


def reading_texts(model: keras.Model, layer: Any) -> Original:
    """Return the original of a model that contains its `TextVectorization` layer."""
    flat = len(model.inputs[0].shape) == 1
    return _original(lambda texts: model(texts if flat else texts[:, None], training=False), layer)


def reading_ids(model: keras.Model, layer: Any) -> Original:
    """Return the original of a model that is applied to the ids of a separate `TextVectorization` layer."""
    return _original(lambda texts: model(_read(layer, texts), training=False), layer)


def _original(run: Callable[[Any], Any], layer: Any) -> Original:
    read = partial(_read, layer)
    return Original(run, read, f"layer {layer.name}", known_words(layer), output_length(layer))


def _read(layer: Any, texts: Any) -> Any:
    """Return the ids of texts, padded to the longest; a layer with `ragged=True` leaves the padding to its user."""
    ids = layer(texts)
    return ids.to_tensor() if isinstance(ids, tensorflow.RaggedTensor) else ids
