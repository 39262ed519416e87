"""Reviews of different length as one matrix of ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def pad(rows: Sequence[npt.NDArray[np.int32]], time: int, height: int = 0) -> npt.NDArray[np.int32]:
    """Rows of at most `time` ids, int32 [n], right-aligned in int32 [rows, time]; the padding is on the left.

    The matrix has at least `height` rows; those without ids are padding.
    """
    shape = max(len(rows), height), time
    matrix = np.zeros(shape, np.int32)  # the padding id is 0, and zeros come cheaper than anything else
    for number, row in enumerate(rows):
        matrix[number, time - len(row) :] = row
    return matrix


def padded_length(tokens: int, max_tokens: int, leading_padding: int | None) -> int:
    """Columns that a row of `tokens` ids needs so that the model answers as if padded to `max_tokens`.

    Under filters no wider than `leading_padding`, that many pad ids in front stand for any larger number: every
    window that lies in the padding has the same value, and max pooling counts it once. `None`: always `max_tokens`.
    """
    if leading_padding is None:
        return max_tokens
    return min(tokens + leading_padding, max_tokens)
