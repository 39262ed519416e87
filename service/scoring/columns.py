"""The columns that scoring adds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.service.inference.prediction import Prediction


def prediction_columns(labels: Sequence[str]) -> tuple[str, ...]:
    """Names of the added columns, in order."""
    probabilities = (f"probability_{label}" for label in labels)
    return ("predicted_label", "score", *probabilities, "tokens", "unknown_tokens", "truncated")


def prediction_values(prediction: Prediction) -> tuple[Any, ...]:
    """Values of the added columns, in order."""
    label, score, probabilities, tokens, unknown_tokens, truncated = prediction
    return (label, score, *probabilities, tokens, unknown_tokens, truncated)


def check_free(place: str, columns: Collection[str], added: Collection[str]) -> None:
    """Raise `DataError` if an added column would overwrite one of the input."""
    for column in added:
        if column in columns:
            raise DataError(f"{place}: the column {column!r} has the name of one that scoring adds; rename it")
