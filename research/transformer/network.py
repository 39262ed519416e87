"""A BERT encoder with a classification head, in Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops


@dataclass(frozen=True)
class Size:
    """The size of an encoder. The defaults are those of MiniLM-L6."""

    vocabulary: int = 30522
    positions: int = 512
    blocks: int = 6
    width: int = 384
    inner: int = 1536
    heads: int = 12


class Embedding(layers.Layer):  # type: ignore[misc]
    """Adds the embeddings of word pieces and of their positions."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.words = layers.Embedding(size.vocabulary, size.width)
        self.positions = layers.Embedding(size.positions, size.width)
        self.normalization = _normalization()

    def call(self, ids: Any) -> Any:
        """Turn ids, int32 [batch, time], into [batch, time, width]."""
        return self.normalization(self.words(ids) + self.positions(ops.arange(ops.shape(ids)[1]))[None])


class Block(layers.Layer):  # type: ignore[misc]
    """Self-attention and two dense layers. Each of the two is added to its input and normalized."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads, self.width = size.heads, size.width
        self.query, self.key, self.value, self.mixer = (layers.Dense(size.width) for _ in range(4))
        self.inner, self.outer = layers.Dense(size.inner, activation=_gelu), layers.Dense(size.width)
        self.normalizations = [_normalization(), _normalization()]

    def call(self, x: Any, hidden: Any) -> Any:
        """Transform [batch, time, width]. `hidden`, [batch, 1, 1, time], is added to the scores of the positions."""
        query, key, value = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * (self.width // self.heads) ** -0.5
        mixed = ops.transpose(ops.matmul(ops.softmax(scores + hidden), value), (0, 2, 1, 3))
        x = self.normalizations[0](x + self.mixer(ops.reshape(mixed, ops.shape(x))))
        return self.normalizations[1](x + self.outer(self.inner(x)))

    def _split(self, x: Any) -> Any:
        """Return [batch, heads, time, width of a head]."""
        batch, time, _ = ops.shape(x)
        return ops.transpose(ops.reshape(x, (batch, time, self.heads, self.width // self.heads)), (0, 2, 1, 3))


class Classifier(keras.Model):  # type: ignore[misc]
    """The encoder, the mean over the positions that are not padding, and a unit for each label: its logit."""

    def __init__(self, size: Size, labels: int) -> None:
        super().__init__()
        self.embedding = Embedding(size)
        self.blocks = [Block(size) for _ in range(size.blocks)]
        self.head = layers.Dense(labels, dtype="float32")
        self(np.ones((1, 2), np.int32))  # creates the weights

    def call(self, ids: Any) -> Any:
        """Turn ids, int32 [batch, time] padded with 0 on the right, into logits, float32 [batch, labels]."""
        x = self.embedding(ids)
        real = ops.cast(ops.not_equal(ids, 0), "float32")
        hidden = ops.cast((real[:, None, None, :] - 1) * 10000, x.dtype)
        for block in self.blocks:
            x = block(x, hidden)
        total = ops.sum(ops.cast(x, "float32") * real[:, :, None], axis=1)
        return self.head(total / ops.sum(real, axis=1, keepdims=True))


def _gelu(x: Any) -> Any:
    """Return gelu(x) without the function erfc that Keras uses, because ONNX has only erf."""
    return x * 0.5 * (1 + ops.erf(x * 0.5**0.5))


def _normalization() -> Any:
    return layers.LayerNormalization(epsilon=1e-12)
