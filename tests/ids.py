"""Ids of texts as a matrix, for tests of single graphs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.input_shape import InputShape, Rows


def shape(max_tokens: int, leading_padding: int | None = None, vocabulary_size: int = 9) -> InputShape:
    """The input of a model that pads with id 0."""
    return InputShape(max_tokens, vocabulary_size, 0, leading_padding)


def pad(rows: Rows, time: int) -> npt.NDArray[np.int32]:
    """Rows of at most `time` ids, padded in full: int32 [rows, time]."""
    return shape(time).pad(rows, time)
