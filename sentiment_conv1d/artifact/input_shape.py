"""The input of a model: the ids of several texts as one matrix, int32 [batch, sequence_length]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.tokenizer import Tokenizer

#: Ids of several texts: one int32 [n] for each text, or int32 [rows, n].
Rows: TypeAlias = Sequence[npt.NDArray[np.int32]] | npt.NDArray[np.int32]


@dataclass(frozen=True)
class InputShape:
    """The number of ids that a model reads of a text, and how shorter texts are padded.

    The tokenizer truncates longer texts. The padding comes before the text, or after it if `pads_behind`.

    A model of the Conv1D family does not need padding up to `max_tokens`. If no filter is wider than `leading_padding`,
    that number of pad ids is equivalent to any larger number, because all windows within the padding have the same
    value. Max pooling counts the value once, and a graph with average pooling adds the missing windows. If
    `leading_padding` is None, every text is padded to `max_tokens`.
    """

    max_tokens: int
    vocabulary_size: int  # every id is below this number
    padding_id: int
    leading_padding: int | None = None
    pads_behind: bool = False

    @classmethod
    def of(cls, tokenizer: Tokenizer, leading_padding: int | None = None) -> InputShape:
        """Return the input shape of a model that reads the ids of a tokenizer."""
        return cls(
            tokenizer.max_tokens,
            tokenizer.vocabulary_size,
            tokenizer.padding_id,
            leading_padding,
            tokenizer.pads_behind,
        )

    def sequence_length(self, tokens: int) -> int:
        """Return the shortest sequence length for `tokens` ids that is equivalent to padding to `max_tokens`."""
        if self.leading_padding is None:
            return self.max_tokens
        return min(tokens + self.leading_padding, self.max_tokens)

    def pad(self, rows: Rows, sequence_length: int | None = None) -> npt.NDArray[np.int32]:
        """Pad rows of ids to int32 [rows, sequence_length], by default as short as the longest row allows.

        Raises `ValueError` if a row is longer than `sequence_length`.
        """
        if sequence_length is None:
            sequence_length = self.sequence_length(max(map(len, rows)))
        matrix = np.empty((len(rows), sequence_length), np.int32)
        self.fill(matrix, rows)
        return matrix

    def fill(self, matrix: npt.NDArray[np.int32], rows: Rows) -> None:
        """Write rows of ids into a matrix int32 [height, sequence_length], and padding everywhere else."""
        sequence_length = matrix.shape[1]
        matrix.fill(self.padding_id)
        if self.pads_behind:
            for number, row in enumerate(rows):
                matrix[number, : len(row)] = row
            return
        for number, row in enumerate(rows):
            matrix[number, sequence_length - len(row) :] = row

    def check(self, ids: npt.NDArray[np.int32]) -> None:
        """Raise `ValueError` with the reason if the model cannot read a caller's ids int32 [batch, sequence_length]."""
        if not 1 <= ids.shape[1] <= self.max_tokens:
            raise ValueError(f"{ids.shape[1]} ids per text; the model reads 1 to {self.max_tokens}")
        if ids.min() < 0 or ids.max() >= self.vocabulary_size:
            raise ValueError(f"ids must be between 0 and {self.vocabulary_size - 1}")
