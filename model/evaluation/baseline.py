"""The baseline of a training: the most accurate of several linear models of words and word pairs.

The models are logistic regression on TF-IDF, and NB-SVM of Wang and Manning, "Baselines and Bigrams: Simple, Good
Sentiment and Topic Classification" (ACL 2012), with the logistic loss, which gives probabilities, instead of the hinge
loss. Cross-validation on the training texts chooses between them, how strongly they are regularized, and whether they
count the terms of a single text. The test texts choose nothing.

The baseline is measured beside every network on the same texts. A network that is less accurate has learned too little.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.evaluation.evaluation import Evaluation

TFIDF = "TF-IDF and logistic regression"
NB_SVM = "NB-SVM"

#: Inverse strengths of the regularization.
_STRENGTHS = {TFIDF: (10, 100), NB_SVM: (0.1, 1)}

#: The strength and the least texts of a term for a regression that is not chosen by cross-validation.
_C, _LEAST_TEXTS = 10, 2

#: The numbers of texts in which a term must occur that are tried. Most word pairs occur in one text. They can help if
#: there are few texts, and take too much memory and time if there are more than `_FEW`.
_LEAST_TEXTS_TRIED = (2, 1)
_FEW = 10_000

#: Cross-validation has this number of folds, and reads this number of texts at most.
_FOLDS, _MOST_TRIED = 3, 2000

#: Counts [texts, terms] to learn with labels [texts], and counts to predict -> probabilities [texts, labels].
Linear = Callable[[Any, npt.NDArray[np.int64], Any], npt.NDArray[np.float64]]


class Baseline(NamedTuple):
    """The chosen linear model on the test texts."""

    name: str
    evaluation: Evaluation


def measure_baseline(
    label_names: tuple[str, ...], train: Examples, test: Examples, *, characters: bool = False
) -> Baseline | None:
    """Choose the baseline and fit it to the training texts, and evaluate it on the test texts.

    `characters` counts n-grams of characters, for scripts without spaces between words. Returns None if no n-gram
    occurs in two texts, or the training texts lack a label.
    """
    if len(np.unique(train.labels)) < len(label_names):
        return None
    counter = CountVectorizer(dtype=np.float32, **_terms(characters))
    try:
        counts = counter.fit_transform(train.texts)
    except ValueError:  # scikit-learn: no terms remain
        return None
    if counts.getnnz(axis=0).max() < _LEAST_TEXTS:
        return None
    name, model = _choose(counts, train.labels)
    outputs = model(counts, train.labels, counter.transform(test.texts))
    return Baseline(name, Evaluation(label_names, test.labels, outputs[:, 1:] if len(label_names) == 2 else outputs))


def vectorizer(characters: bool) -> TfidfVectorizer:
    """Return the weights of words and word pairs, or of one to three characters."""
    return TfidfVectorizer(min_df=_LEAST_TEXTS, sublinear_tf=True, dtype=np.float32, **_terms(characters))


def classifier() -> LogisticRegression:
    """Return a logistic regression that is not fitted yet."""
    return _regression(_C)


def _terms(characters: bool) -> dict[str, Any]:
    if characters:
        return {"analyzer": "char", "ngram_range": (1, 3)}
    return {"analyzer": "word", "ngram_range": (1, 2)}


def _regression(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=1000)


def _choose(counts: Any, labels: npt.NDArray[np.int64]) -> tuple[str, Linear]:
    """Return the model with the highest accuracy in cross-validation; of equal ones, that with the lowest log loss."""
    tried = np.random.default_rng(0).permutation(len(labels))[:_MOST_TRIED]
    least = _LEAST_TEXTS_TRIED if len(labels) <= _FEW else (_LEAST_TEXTS,)
    models: list[tuple[str, Linear]] = [
        (name, partial(fit, least_texts=number, strength=strength))
        for name, fit in ((TFIDF, _tfidf), (NB_SVM, _nb_svm))
        for number in least
        for strength in _STRENGTHS[name]
    ]
    counts, labels = counts[tried], labels[tried]
    folds = min(_FOLDS, int(np.unique(labels, return_counts=True)[1].min()))
    if folds < 2 or len(np.unique(labels)) <= labels.max():
        return models[0]
    parts = list(StratifiedKFold(folds, shuffle=True, random_state=0).split(counts, labels))

    def score(model: tuple[str, Linear]) -> tuple[float, float]:
        outputs = np.zeros((len(labels), labels.max() + 1))
        for learned, held_out in parts:
            outputs[held_out] = model[1](counts[learned], labels[learned], counts[held_out])
        of_truth = np.clip(outputs[np.arange(len(labels)), labels], np.finfo(np.float32).tiny, 1)
        return float(np.mean(outputs.argmax(axis=1) == labels)), float(np.log(of_truth).mean())

    return max(models, key=score)


def _tfidf(
    learned: Any, labels: npt.NDArray[np.int64], predicted: Any, *, least_texts: int, strength: float
) -> npt.NDArray[np.float64]:
    kept = _kept(learned, least_texts)
    weights = TfidfTransformer(sublinear_tf=True).fit(learned[:, kept])
    model = _regression(strength).fit(weights.transform(learned[:, kept]), labels)
    return np.asarray(model.predict_proba(weights.transform(predicted[:, kept])))


def _nb_svm(
    learned: Any, labels: npt.NDArray[np.int64], predicted: Any, *, least_texts: int, strength: float
) -> npt.NDArray[np.float64]:
    """Learn each label against the others. A term counts its log-count ratio in each text that contains it."""
    kept = _kept(learned, least_texts)
    learned, predicted = learned[:, kept].sign(), predicted[:, kept].sign()
    outputs = []
    for label in range(1 if labels.max() == 1 else 0, labels.max() + 1):
        ratio = log_count_ratio(learned, labels == label)
        model = _regression(strength).fit(learned.multiply(ratio).tocsr(), labels == label)
        outputs.append(model.predict_proba(predicted.multiply(ratio).tocsr())[:, 1])
    if len(outputs) == 1:
        outputs.insert(0, 1 - outputs[0])
    return np.asarray(np.stack(outputs, axis=1) / np.sum(outputs, axis=0)[:, np.newaxis])


def log_count_ratio(counts: Any, own: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return the logarithm of the share of each term in some texts, divided by its share in the others: [terms].

    `counts` are [texts, terms], and each term counts once more than it occurs.
    """
    share, others = (1 + np.asarray(counts[chosen].sum(axis=0)).ravel() for chosen in (own, ~own))
    ratio: npt.NDArray[Any] = np.log(share / share.sum()) - np.log(others / others.sum())
    return ratio


def _kept(counts: Any, least_texts: int) -> npt.NDArray[np.intp]:
    """Return the terms that occur in a number of texts, or all if none does."""
    texts = counts.getnnz(axis=0)
    return np.flatnonzero(texts >= min(least_texts, texts.max()))
