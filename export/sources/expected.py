"""Expected answers: texts with the probabilities that the owner of a model got for them, from a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.tables import READABLE, Chunk, DataError, Format, extension, open_table

#: The column with the output of a sigmoid, the probability of the second label.
PROBABILITY = "probability"

#: How far the sum of a row may be from 1: probabilities may be rounded.
_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Expected:
    """Texts, and the answers float32 [texts, outputs] that a model must give to them: NaN if there is none."""

    texts: Sequence[str]
    answers: npt.NDArray[np.float32]


def read_expected(
    path: Path,
    labels: Sequence[str],
    outputs: int,
    text_column: str = "text",
    form: Format = Format(),  # noqa: B008
    *,
    sums_to_one: bool = True,
) -> Expected:
    """Read expected answers from a file: a column of texts, and a column of probabilities for each label.

    For a model with one output, one column `probability` may replace those of the two labels. Raises `DataError`,
    which names the file and the row, also if `sums_to_one` and the probabilities of a text do not.
    """
    texts: list[str] = []
    answers: list[list[float]] = []
    if extension(path) not in READABLE:
        raise DataError(f"{path}: only these extensions can be read: {', '.join(READABLE)}")
    with open_table(path, form) as table:
        for chunk in table.chunks():
            single = outputs == 1 and PROBABILITY in (table.columns or chunk.rows[0].values)
            columns = [PROBABILITY] if single else list(labels)
            for column in (text_column, *columns):
                table.require(column)
            rows = zip(*(chunk.values(column) for column in columns), strict=True)
            for number, text, row in zip(chunk.numbers, chunk.strings(text_column), rows, strict=True):
                texts.append(text or "")
                answers.append([_probability(chunk, number, each) for each in row])
                if sums_to_one and not single and abs(sum(answers[-1]) - 1) > _TOLERANCE:
                    raise DataError(f"{chunk.location(number)}: the probabilities sum to {sum(answers[-1]):.4g}, not 1")
    if not texts:
        raise DataError(f"{path}: there are no expected answers in it")
    return Expected(texts, np.array(answers, np.float32)[:, -outputs:])


def _probability(chunk: Chunk, number: int, value: Any) -> float:
    if value is None or value == "":
        return math.nan  # as pandas writes it
    try:
        probability = float(value)
    except (TypeError, ValueError):
        raise DataError(f"{chunk.location(number)}: {value!r} is not a probability") from None
    if not (0 <= probability <= 1 or math.isnan(probability)):
        raise DataError(
            f"{chunk.location(number)}: {value!r} is not a probability; if the model returns logits, pass "
            "--from-logits, and state their sigmoid or softmax"
        )
    return probability
