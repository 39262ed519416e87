"""`python -m benchmarks.accuracy.domains --imdb FOLDER --reviews FOLDER`: the shipped models on many kinds of reviews.

A linear model learns from `train.parquet` of both folders, and VADER from nothing. All are measured on the same
`test.parquet` of both, whose domains have as many texts of each label; VADER only if `vaderSentiment` is installed.
`python -m research.transformer domains` measures a fine-tuned transformer on the same texts.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from time import thread_time

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import make_pipeline

import sentiment_conv1d
from benchmarks.markdown import circumstances, table
from sentiment_conv1d.model.evaluation.baseline import classifier

#: The domain of the rows in `--imdb`, which have no column for it.
IMDB = "imdb"

#: The most texts of a label that a domain counts as, except for IMDB.
_MOST = 3000

#: Buckets of the linear model's n-grams.
_FEATURES = 1 << 21

#: The compound score from which on VADER's documentation calls a text positive.
_VADER = 0.05

#: Whole reviews of IMDB that are timed one by one.
_TIMED = 256

_SHIPPED = ("imdb-cnn", "accurate", "reviews")

#: The columns of the table: a name, and what `measure` yields.
HEAD = ("", "mean of the domains", "trained", "never trained", "11 to 20 words", "IMDB", "µs a whole review")

#: Returns whether each text is positive: bool [texts].
Answer = Callable[[Sequence[str]], npt.NDArray[np.bool_]]


class Rows:
    """Texts with their labels and domains."""

    def __init__(self, texts: Sequence[str], labels: Sequence[int], domains: Sequence[str]) -> None:
        self.texts = list(texts)
        self.labels = np.array(labels)
        self.domains = np.array(domains)
        self.words = np.array([len(text.split()) for text in texts])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imdb", type=Path, default=Path("imdb"), metavar="FOLDER")
    parser.add_argument("--reviews", type=Path, default=Path("reviews"), metavar="FOLDER")
    parser.add_argument("--smoke", action="store_true", help="a few generated texts; the numbers mean nothing")
    options = parser.parse_args()
    folders = {IMDB: options.imdb, "": options.reviews}
    train = generated("hotels") if options.smoke else read(folders, "train")
    test = generated("hotels", "phones") if options.smoke else read(folders, "test")
    print(circumstances(), "", sep="\n")
    rows = [[name, *measure(answer, set(train.domains), test)] for name, answer in systems(train)]
    print(table(HEAD, rows))


def read(folders: dict[str, Path], part: str) -> Rows:
    """Return the rows of `<part>.parquet` in every folder. The key of a folder is its domain, or names a column."""
    texts: list[str] = []
    labels: list[int] = []
    domains: list[str] = []
    for domain, folder in folders.items():
        content = pq.read_table(folder / f"{part}.parquet")
        texts += content["text"].to_pylist()
        labels += content["label"].to_pylist()
        domains += [domain] * len(content) if domain else content["domain"].to_pylist()
    return Rows(texts, labels, domains)


def systems(train: Rows) -> Iterator[tuple[str, Answer]]:
    """Yield what is measured: VADER, a linear model of the training rows, and the shipped models."""
    if importlib.util.find_spec("vaderSentiment") is not None:
        analyzer = importlib.import_module("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()
        yield "VADER", lambda texts: np.array([analyzer.polarity_scores(text)["compound"] >= _VADER for text in texts])
    yield "words and word pairs, linear", linear(train)
    for name in _SHIPPED:
        yield f"`{name}`", shipped(name)


def linear(train: Rows) -> Answer:
    """Fit TF-IDF of words and word pairs, and logistic regression, with equal weights of the labels of a domain."""
    n_grams = make_pipeline(
        HashingVectorizer(ngram_range=(1, 2), n_features=_FEATURES, norm=None, alternate_sign=False, dtype=np.float32),
        TfidfTransformer(sublinear_tf=True),
    )
    features = n_grams.fit_transform(train.texts)
    fitted = classifier().fit(features, train.labels, weights(train))

    def answer(texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        positive: npt.NDArray[np.bool_] = fitted.predict(n_grams.transform(texts)) == 1
        return positive

    return answer


def weights(rows: Rows) -> npt.NDArray[np.float64]:
    """Return weights by which the labels of a domain count the same, and a domain at most as `_MOST` texts of each."""
    found = np.ones(len(rows.texts))
    for domain, label in product(np.unique(rows.domains), (0, 1)):
        own = rows.domains == domain
        size = own.sum() / 2 if domain == IMDB else min(own.sum() / 2, _MOST)
        own &= rows.labels == label
        found[own] = size / max(1, own.sum())
    return found


def shipped(name: str) -> Answer:
    """Return the answers of a shipped model: which opinion is more probable."""
    model = sentiment_conv1d.load(name)

    def answer(texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        found = [each.probabilities for each in model.predict(list(texts))]
        return np.array([each["positive"] > each["negative"] for each in found])

    return answer


def measure(answer: Answer, trained: set[str], test: Rows) -> Iterator[str]:
    """Yield the accuracies on groups of domains and texts, and the processor time of a text."""
    right = answer(test.texts) == (test.labels == 1)
    names = [name for name in np.unique(test.domains) if name != IMDB]
    accuracy = {name: float(right[test.domains == name].mean()) for name in names}
    short = (test.domains != IMDB) & (test.words >= 11) & (test.words <= 20)
    for some in (names, [name for name in names if name in trained], [name for name in names if name not in trained]):
        yield f"{np.mean([accuracy[name] for name in some]):.3f}"
    yield f"{right[short].mean():.3f}"
    yield f"{right[test.domains == IMDB].mean():.3f}"
    whole = [text for text, domain in zip(test.texts, test.domains, strict=True) if domain == IMDB][:_TIMED]
    started = thread_time()
    for text in whole:
        answer([text])
    yield f"{1e6 * (thread_time() - started) / len(whole):.0f}"


def generated(*domains: str) -> Rows:
    """Return a few texts of IMDB and of other domains."""
    generator = random.Random(0)
    words = {0: ["awful", "dull", "clumsy"], 1: ["lovely", "bright", "moving"]}
    rows = [
        (" ".join(["it", "was", *generator.choices(words[label], k=12)]), label, domain)
        for domain, label in product((IMDB, *domains), words)
        for _ in range(20)
    ]
    return Rows(*zip(*rows, strict=True))


if __name__ == "__main__":
    main()
