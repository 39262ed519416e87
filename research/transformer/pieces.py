"""Texts to word pieces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer


class WordPieces:
    """Turns texts into at most `length` word pieces: the first quarter of them, and the last ones.

    The end of a review says most about its label, and its beginning says more than the middle.
    """

    def __init__(self, tokenizer: bytes, length: int) -> None:
        self._tokenizer = Tokenizer.from_buffer(tokenizer)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._length = length

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of every text, with those of `[CLS]` and `[SEP]` at its ends."""
        cleaned = [text.replace("<br />", " ") for text in texts]
        return [shorten(each.ids, self._length) for each in self._tokenizer.encode_batch_fast(cleaned)]


def shorten(ids: list[int], length: int) -> list[int]:
    """Remove ids from the middle, so that at most `length` are left."""
    if len(ids) <= length:
        return ids
    head = length // 4
    return ids[:head] + ids[head - length :]


def pad(rows: Sequence[Sequence[int]], multiple: int = 1) -> npt.NDArray[np.int32]:
    """Return [batch, time], padded with 0 on the right to the next multiple."""
    longest = max(map(len, rows))
    padded = np.zeros((len(rows), -(-longest // multiple) * multiple), np.int32)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded
