"""Labels that are probably wrong: those that a model of the other texts contradicts most.

The model is logistic regression on TF-IDF of words and word pairs. It is fitted five times, each time without a fifth
of the texts, which it then predicts. Equal texts are always left out together.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from sentiment_conv1d.artifact.errors import writing
from sentiment_conv1d.model.data import DataError, Examples
from sentiment_conv1d.model.evaluation.baseline import TFIDF, classifier, vectorizer

_FOLDS = 5

_TOO_FEW = "there are too few different texts of each label to predict one from the others"

#: The words of a suspicious text, and the characters of it that a terminal shows.
_WORDS, _CHARACTERS = 5, 200


class Suspect(NamedTuple):
    """A text whose label is probably wrong."""

    place: str  # its file and row; a name in the output
    text: str
    label: str
    predicted: str
    probability: float  # of the predicted label
    probability_of_label: float
    words: tuple[tuple[str, float], ...]  # that favour the predicted label, with their shares of the log-odds

    @property
    def record(self) -> dict[str, Any]:
        """The text for a file of JSON lines."""
        words = [{"text": text, "share": round(share, 4)} for text, share in self.words]
        return self._asdict() | {
            "probability": round(self.probability, 4),
            "probability_of_label": round(self.probability_of_label, 4),
            "words": words,
        }

    def lines(self) -> Iterator[str]:
        """Yield lines for a terminal."""
        yield (
            f"  {self.place}: labelled {self.label} ({self.probability_of_label:.2f}), predicted {self.predicted} "
            f"({self.probability:.2f})"
        )
        text = " ".join(self.text.split())
        yield f"    {text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + chr(0x2026)}"
        yield f"    {', '.join(f'{word} {share:+.2f}' for word, share in self.words)}"


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The predictions for each text by a model that was fitted to the others."""

    label_names: tuple[str, ...]
    examples: Examples
    terms: npt.NDArray[Any]  # [terms]
    features: Any  # sparse [texts, terms]
    probabilities: npt.NDArray[np.float64]  # [texts, labels]
    weights: npt.NDArray[np.float64]  # [folds, labels, terms]
    folds: npt.NDArray[np.int64]  # [texts]

    @cached_property
    def suspects(self) -> list[int]:
        """The texts with another predicted label, those that contradict their label most first."""
        predicted = self.probabilities.argmax(axis=1)
        rows = np.arange(len(predicted))
        margin = self.probabilities[rows, predicted] - self.probabilities[rows, self.examples.labels]
        wrong = np.flatnonzero(predicted != self.examples.labels)
        return [int(index) for index in wrong[np.argsort(-margin[wrong], kind="stable")]]

    def suspect(self, index: int) -> Suspect:
        """Return a suspicious text with the words responsible."""
        label, predicted = int(self.examples.labels[index]), int(self.probabilities[index].argmax())
        row, weights = self.features[index], self.weights[self.folds[index]]
        shares = row.data * (weights[predicted] - weights[label])[row.indices]
        strongest = [place for place in np.argsort(-shares, kind="stable")[:_WORDS] if shares[place] > 0]
        return Suspect(
            place=self.examples.rows[index].location,
            text=self.examples.texts[index],
            label=self.label_names[label],
            predicted=self.label_names[predicted],
            probability=float(self.probabilities[index, predicted]),
            probability_of_label=float(self.probabilities[index, label]),
            words=tuple((str(self.terms[row.indices[place]]), float(shares[place])) for place in strongest),
        )

    def lines(self, most: int) -> Iterator[str]:
        """Yield the most suspicious texts as lines for a terminal."""
        number = len(self.suspects)
        yield (
            f"label errors: {TFIDF}, fitted to the other texts, predicts another label for {number:,} of "
            f"{len(self.examples):,} texts; those that contradict their label most:"
        )
        for index in self.suspects[:most]:
            yield from self.suspect(index).lines()
        if number > most:
            yield f"  and {number - most:,} more"


def write(path: Path, found: Iterable[CrossValidation]) -> None:
    """Write a JSON object a line for each suspicious text, the most suspicious first. Raises `SentimentError`."""
    records = (each.suspect(index).record for each in found for index in each.suspects)
    with writing(path):
        path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in records), encoding="utf-8")


def one_by_one(label_names: tuple[str, ...], examples: Examples) -> Iterator[tuple[tuple[str, ...], Examples]]:
    """Yield the examples or, if a text can have several labels, for each label whether a text has it."""
    if examples.labels.ndim == 1:
        yield label_names, examples
        return
    for number, name in enumerate(label_names):
        yield (f"not {name}", name), replace(examples, labels=examples.labels[:, number])


def cross_validate(label_names: tuple[str, ...], examples: Examples, *, characters: bool) -> CrossValidation:
    """Predict each text with a model of the others. `characters` is for scripts without spaces between words.

    Raises `DataError` if there are too few different texts.
    """
    words = vectorizer(characters)
    try:
        features = words.fit_transform(examples.texts)
    except ValueError:  # scikit-learn: no terms remain
        raise DataError("no word occurs in two texts, so no label can be predicted from the others") from None
    folds = _folds(examples)
    number, labels = int(folds.max()) + 1, len(label_names)
    probabilities = np.zeros((len(examples), labels))
    weights = np.zeros((number, labels, features.shape[1]), np.float32)
    for fold in range(number):
        model = classifier()
        try:
            model.fit(features[folds != fold], examples.labels[folds != fold])
        except ValueError:  # scikit-learn: a single label
            raise DataError(_TOO_FEW) from None
        probabilities[np.ix_(folds == fold, model.classes_)] = model.predict_proba(features[folds == fold])
        # With two labels, scikit-learn has the weights of the second one only.
        weights[fold, model.classes_[-len(model.coef_) :]] = model.coef_
    return CrossValidation(
        label_names, examples, words.get_feature_names_out(), features, probabilities, weights, folds
    )


def _folds(examples: Examples) -> npt.NDArray[np.int64]:
    """Return the number of the fold of each text: int64 [texts]."""
    _, groups = np.unique(np.array(examples.texts, object), return_inverse=True)
    folds = np.zeros(len(examples), np.int64)
    number = min(_FOLDS, int(groups.max()) + 1, int(np.bincount(examples.labels).max()))
    if number < 2:
        raise DataError(_TOO_FEW)
    split = StratifiedGroupKFold(number, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label has fewer texts than folds
        for fold, (_, held_out) in enumerate(split.split(examples.texts, examples.labels, groups)):
            folds[held_out] = fold
    return folds
