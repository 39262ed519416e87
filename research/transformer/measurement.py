"""Accuracy, cost and size of several models, measured in the same rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import process_time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks import markdown
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.manifest import GRAPH_FILE
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.model.data.examples import Examples

_REPOSITORY = Path(__file__).parents[2] / "model_repository"
_SHIPPED = ("imdb-cnn", "imdb-cnn-8bit", "accurate")
_BATCH = 32

#: From texts to the probabilities of the labels, [texts, labels].
Predict = Callable[[Sequence[str]], npt.ArrayLike]


class Candidate(NamedTuple):
    """A model in process, and the file of its graph."""

    predict: Predict
    graph: Path


def shipped() -> dict[str, Candidate]:
    """Return the shipped models as the service runs them, on one thread."""
    return {name: _shipped(_REPOSITORY / name / "1") for name in _SHIPPED}


def _shipped(version: Path) -> Candidate:
    classifier = Classifier(read_artifact(version))
    return Candidate(lambda reviews: [each.probabilities for each in classifier.predict(reviews)], version / GRAPH_FILE)


def probabilities(predict: Predict, reviews: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the probabilities of all reviews, which are classified in batches of similar length: [reviews, labels]."""
    order = np.argsort([len(review) for review in reviews])
    batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    result = np.concatenate(
        [predict([reviews[index] for index in batch]) for batch in tqdm(batches, mininterval=10, disable=None)]
    )
    return result[np.argsort(order)]


def accuracy(predict: Predict, examples: Examples) -> float:
    """Return the share of right labels."""
    return float(np.mean(probabilities(predict, examples.texts).argmax(axis=1) == examples.labels))


def costs(candidates: dict[str, Candidate], reviews: Sequence[str], rounds: int) -> dict[str, float]:
    """Return the microseconds of processor time per review: medians of the rounds, in which the models alternate."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            candidate.predict(reviews[:1])
            started = process_time()
            for review in reviews:
                candidate.predict([review])
            seconds[name].append((process_time() - started) / len(reviews))
    return {name: 1e6 * median(each) for name, each in seconds.items()}


def table(candidates: dict[str, Candidate], examples: Examples, count: int, rounds: int) -> str:
    """Measure the models, the costs with the first reviews, and return a table."""
    reviews = examples.texts[:count]
    whole, short = (costs(candidates, each, rounds) for each in (reviews, texts.shorten(reviews)))
    rows = []
    for name, (predict, graph) in candidates.items():
        right = accuracy(predict, examples)
        margin = 1.96 * (right * (1 - right) / len(examples)) ** 0.5
        size = f"{graph.stat().st_size / 1e6:.1f}"
        rows.append([name, f"{right:.4f} (±{margin:.4f})", f"{whole[name]:,.0f}", f"{short[name]:,.0f}", size])
    return markdown.table(
        ["model", "accuracy (95 % interval)", "µs a whole review", "µs a review of 20 words", "MB"], rows
    )
