"""Reviews of different length as one matrix of ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.model.tokenizer import PADDING_ID

#: Ids of several texts: each int32 [n], or all of them int32 [rows, n].
Rows: TypeAlias = Sequence[npt.NDArray[np.int32]] | npt.NDArray[np.int32]


def pad(rows: Rows, time: int) -> npt.NDArray[np.int32]:
    """Rows of at most `time` ids, right-aligned in int32 [rows, time]; the padding is on the left."""
    matrix = np.empty((len(rows), time), np.int32)
    fill(matrix, rows)
    return matrix


def fill(matrix: npt.NDArray[np.int32], rows: Rows) -> None:
    """Do the same in a matrix int32 [height, time], whatever it holds; those of its rows that are left are padding."""
    time = matrix.shape[1]
    matrix.fill(PADDING_ID)
    for number, row in enumerate(rows):
        matrix[number, time - len(row) :] = row


def padded_length(tokens: int, max_tokens: int, leading_padding: int | None) -> int:
    """Columns that a row of `tokens` ids needs so that the model answers as if padded to `max_tokens`.

    Under filters no wider than `leading_padding`, that many pad ids in front stand for any larger number: every
    window that lies in the padding has the same value, and max pooling counts it once. `None`: always `max_tokens`.
    """
    if leading_padding is None:
        return max_tokens
    return min(tokens + leading_padding, max_tokens)
