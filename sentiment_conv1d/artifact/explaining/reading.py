"""The ids that a model reads of a text, and the words behind them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sentiment_conv1d.artifact.input_shape import InputShape
from sentiment_conv1d.artifact.tokenizer import Encoding, Tokenizer


@dataclass(slots=True)
class Word:
    """A word that the model read."""

    text: str
    start: Annotated[int, Field(description="Offset of its first character in the text that was sent.")]
    end: Annotated[int, Field(description="Offset after its last character.")]
    id: int
    known: Annotated[bool, Field(description="Whether the model knows the word.")]
    share: Annotated[float, Field(description="The share of the logit that it adds.")]


class Reading:
    """The row of ids that the model read, and the positions of its words in the text."""

    def __init__(self, row: npt.NDArray[np.int32], spans: list[tuple[int, int]], first: int) -> None:
        self.row = row  # [sequence_length]
        self.spans = spans  # start and end of each word in the text
        #: Position of the first word in the row; all other positions are pad ids or the start id.
        self.first = first
        self.places = slice(first, first + len(spans))

    def span(self, position: int, width: int) -> tuple[int, int]:
        """Return the characters under a window, or (0, 0) if it has none. The window can extend beyond the row."""
        under = self.spans[max(position - self.first, 0) : max(position - self.first + width, 0)]
        return (min(start for start, _ in under), max(end for _, end in under)) if under else (0, 0)

    def words(self, text: str, shares: npt.NDArray[np.float64], unknown_id: int | None) -> list[Word]:
        """Return the words of the text. `shares` has the share of every position of the row: [sequence_length]."""
        return [
            Word(text[start:end], start, end, id, id != unknown_id, share)
            for (start, end), id, share in zip(
                self.spans, self.row[self.places].tolist(), shares[self.places].tolist(), strict=True
            )
        ]

    def rest(self, shares: npt.NDArray[np.float64]) -> float:
        """Return the share of the positions without a word: the pad ids and the start id."""
        return float(shares[: self.places.start].sum() + shares[self.places.stop :].sum())


def read(text: str, encoding: Encoding, tokenizer: Tokenizer, shape: InputShape, *, whole: bool = False) -> Reading:
    """Return what the model reads of a text, with the least padding that gives the same answer, or the `whole` row."""
    ids, max_tokens = encoding.ids, shape.max_tokens
    row = shape.pad([ids], max_tokens if whole else None)[0]
    kept: deque[tuple[int, int]] = deque(maxlen=max_tokens)
    words = 0
    for words, span in enumerate(tokenizer.spans(text), 1):
        if words <= max_tokens or not tokenizer.keeps_first:
            kept.append(span)
    starts = encoding.tokens - words  # ids before the words
    spans = list(kept)[: max_tokens - starts] if tokenizer.keeps_first else list(kept)
    behind = len(row) - len(ids) if shape.pads_behind else 0
    return Reading(row, spans, len(row) - behind - len(spans))
