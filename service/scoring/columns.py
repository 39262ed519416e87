"""The columns that scoring adds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, get_type_hints

import numpy as np

from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.service.inference.prediction import Prediction

#: The type of every field of a prediction.
_TYPES = get_type_hints(Prediction)

_PROBABILITIES = Prediction._fields.index("probabilities")


def prediction_columns(labels: Sequence[str]) -> dict[str, type]:
    """Names and types of the added columns, in order: the fields of a prediction, with a column for each label."""
    columns: dict[str, type] = {}
    for field in Prediction._fields:
        if field == "label":
            columns["predicted_label"] = str
        elif field == "probabilities":
            columns |= {f"probability_{label}": np.float32 for label in labels}
        else:
            columns[field] = _TYPES[field]
    return columns


def prediction_values(prediction: Prediction) -> tuple[Any, ...]:
    """Values of the added columns, in order."""
    return (*prediction[:_PROBABILITIES], *prediction.probabilities, *prediction[_PROBABILITIES + 1 :])


def check_free(place: str, columns: Collection[str], added: Collection[str]) -> None:
    """Raise `DataError` if an added column would overwrite one of the input."""
    for column in added:
        if column in columns:
            raise DataError(f"{place}: the column {column!r} has the name of one that scoring adds; rename it")
