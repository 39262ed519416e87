"""The columns that scoring adds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.tokenizer import Encoding, VocabularyTokenizer
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.tables import DataError

#: The values of a column, one per text.
Column = Sequence[Any] | npt.NDArray[Any]

#: The column that an explanation adds.
TOP_WORDS = "top_words"

#: The types of columns whose values can be missing, whichever rows are scored.
OPTIONAL_BOOL, OPTIONAL_INT = bool | None, int | None

#: The type of the column with the labels of each text, of models that give a text several.
LABELS = list[str]

#: The type of every field of a prediction.
_TYPES = get_type_hints(Prediction)

_PROBABILITIES = Prediction._fields.index("probabilities")


def prediction_columns(classifier: Classifier, explain: bool = False) -> dict[str, Any]:
    """Return the names and types of the added columns, in order: the fields of a prediction, and a column per label.

    `unknown_tokens` is an optional integer if the tokenizer does not count them. The column `predicted_labels`, a list,
    is added only for a model that gives a text several labels. With `explain`, a column with a list of objects follows,
    each with the `text` and the `share` of a word.
    """
    columns: dict[str, Any] = {}
    for field in Prediction._fields:
        if field == "label":
            columns["predicted_label"] = str
        elif field == "probabilities":
            columns |= {f"probability_{label}": np.float32 for label in classifier.labels}
        elif field == "labels":
            columns |= {"predicted_labels": LABELS} if classifier.manifest.multilabel else {}
        else:
            columns[field] = _TYPES[field]
    if isinstance(classifier.tokenizer, VocabularyTokenizer):
        columns["unknown_tokens"] = int
    if explain:
        columns[TOP_WORDS] = list
    return columns


def score_texts(classifier: Classifier, texts: Sequence[str], explain: int = 0) -> list[Column]:
    """Return the added columns for texts, in order. `explain` is the number of the strongest words of each text.

    Raises `NotExplainable`.
    """
    encodings = classifier.encode(texts)
    predicted = classifier.columns(encodings)
    columns: list[Column] = [*predicted[:_PROBABILITIES], *predicted.probabilities, *predicted[_PROBABILITIES + 1 :]]
    if not classifier.manifest.multilabel:
        columns.pop()  # `labels`, which is the last field
    if explain:
        columns.append(
            [
                _top_words(classifier, text, encoding, label, explain)
                for text, encoding, label in zip(texts, encodings, predicted.label, strict=True)
            ]
        )
    return columns


def _top_words(
    classifier: Classifier, text: str, encoding: Encoding, label: str, count: int
) -> list[dict[str, str | float]]:
    words = classifier.explainer.explain(text, encoding, label, 0).words
    top = sorted(words, key=lambda word: -abs(word.share))[:count]
    return [{"text": word.text, "share": word.share} for word in top]


def check_free(location: str, columns: Collection[str], added: Collection[str]) -> None:
    """Raise `DataError` if an added column would overwrite one of the input."""
    for column in added:
        if column in columns:
            raise DataError(f"{location}: the column {column!r} has the name of one that scoring adds; rename it")
