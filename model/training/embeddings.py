"""Pretrained word vectors in the text format of word2vec and GloVe: a word and its numbers on each line.

word2vec's files start with a line with the number of words and the width; GloVe's do not. Like a table, a file may be
compressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.commands.output import counted
from sentiment_conv1d.tables import DataError
from sentiment_conv1d.tables.files import READ_ERRORS, open_utf8


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors in a file for the words of a vocabulary."""

    source: str
    width: int
    rows: dict[int, npt.NDArray[np.float32]]  # [width] by the word's index in the vocabulary


def read_vectors(path: Path, words: Sequence[str]) -> Vectors:
    """Read the vectors of `words`; other words are skipped. Raises `DataError`, which names the line."""
    places = {word: place for place, word in enumerate(words)}
    rows: dict[int, npt.NDArray[np.float32]] = {}
    width = 0
    try:
        file, _ = open_utf8(path, None)
        with file:
            for number, line in enumerate(file, 1):
                word, *numbers = line.decode("utf-8", "replace").rstrip().split(" ")
                if number == 1 and len(numbers) == 1:
                    continue
                width = width or len(numbers)
                if len(numbers) != width or not width:
                    raise DataError(
                        f"{path}: line {number}: {counted(len(numbers), 'number')}, while the first vector has {width}"
                    )
                if word in places:
                    rows[places[word]] = np.array(numbers, np.float32)
    except ValueError as error:
        raise DataError(f"{path}: line {number}: not a word and its vector ({error})") from error
    except READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not rows:
        raise DataError(f"{path}: the file has no vector for any of the {len(words):,} words of the training texts")
    return Vectors(path.name, width, rows)
