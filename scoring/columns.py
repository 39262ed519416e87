"""The columns that scoring adds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, get_type_hints

import numpy as np

from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.service.inference.classifier import Classifier
from sentiment_conv1d.service.inference.prediction import Prediction

#: The column that an explanation adds.
TOP_WORDS = "top_words"

#: The type of every field of a prediction.
_TYPES = get_type_hints(Prediction)

_PROBABILITIES = Prediction._fields.index("probabilities")


def prediction_columns(labels: Sequence[str], explain: bool = False) -> dict[str, Any]:
    """Names and types of the added columns, in order: the fields of a prediction, with a column for each label.

    With `explain`, a list of objects with `text` and `share` follows, one a word.
    """
    columns: dict[str, Any] = {}
    for field in Prediction._fields:
        if field == "label":
            columns["predicted_label"] = str
        elif field == "probabilities":
            columns |= {f"probability_{label}": np.float32 for label in labels}
        else:
            columns[field] = _TYPES[field]
    if explain:
        columns[TOP_WORDS] = list
    return columns


def prediction_values(prediction: Prediction) -> tuple[Any, ...]:
    """Values of the added columns, in order."""
    return (*prediction[:_PROBABILITIES], *prediction.probabilities, *prediction[_PROBABILITIES + 1 :])


def score_texts(classifier: Classifier, texts: Sequence[str], explain: int = 0) -> list[tuple[Any, ...]]:
    """The values of the added columns for every text, with its `explain` strongest words if that is not 0.

    Raises `NotExplainable`.
    """
    encodings = classifier.encode(texts)
    predictions = classifier.classify(encodings).predictions
    if not explain:
        return [prediction_values(prediction) for prediction in predictions]
    rows = []
    for text, encoding, prediction in zip(texts, encodings, predictions, strict=True):
        words = classifier.explainer.explain(text, encoding, prediction.label, 0).words
        top = sorted(words, key=lambda word: -abs(word.share))[:explain]
        rows.append((*prediction_values(prediction), [{"text": word.text, "share": word.share} for word in top]))
    return rows


def check_free(place: str, columns: Collection[str], added: Collection[str]) -> None:
    """Raise `DataError` if an added column would overwrite one of the input."""
    for column in added:
        if column in columns:
            raise DataError(f"{place}: the column {column!r} has the name of one that scoring adds; rename it")
