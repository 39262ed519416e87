"""`python -m benchmarks.accuracy.training --imdb FOLDER --reviews FOLDER`: the default training against linear models.

Trains with `train` and no other flags on five sets of 1,500 to 8,000 reviews, and prints accuracy and log loss next to
those of TF-IDF and logistic regression, which learn the same rows. Each figure of logistic regression is that of the
better of two regularizations, chosen on the test rows, so the comparison favours the linear models.

All rows, those to test on too, come from `train.parquet` of each folder (the reviews with three stars come from
`unlabelled.parquet`). Only one half of the rows is used, so that a configuration can be chosen on the other half, with
`--half 0`.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss

from benchmarks.markdown import circumstances, table
from sentiment_conv1d.model.__main__ import main as model_main

Row = tuple[str, str]

#: The domains of the set `domains`: the first of those that have this number of rows.
_DOMAINS, _ROWS_OF_A_DOMAIN = 20, 1000

_STRENGTHS = (1.0, 10.0)  # C of scikit-learn


class Scores(NamedTuple):
    """Accuracy and log loss on the test rows."""

    accuracy: float
    log_loss: float


@dataclass(frozen=True)
class Result:
    """One training and its baselines."""

    default: Scores
    words: Scores  # TF-IDF of words
    pairs: Scores  # TF-IDF of words and word pairs
    seconds: float  # of processor time, of the training with evaluation and report


#: The sets by name: the kind of rows, and the number to train on.
SETS = {
    "IMDB, 2 labels": ("imdb", 2000),
    "IMDB, 2 labels, more rows": ("imdb", 8000),
    "domains of reviews, 20 labels": ("domains", 4500),
    "stars of reviews, 5 labels": ("stars", 1500),
    "stars of reviews, 5 labels, more rows": ("stars", 6000),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all trainings and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imdb", type=Path, default=Path("imdb"), metavar="FOLDER", help="train.parquet of IMDB")
    parser.add_argument("--reviews", type=Path, default=Path("reviews"), metavar="FOLDER", help="reviews with stars")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of the rows (default: 0,1,2)")
    parser.add_argument("--sets", default="0,1,2,3,4", help="numbers of sets (default: 0,1,2,3,4)")
    parser.add_argument("--test-rows", type=int, default=3000, metavar="N", help="rows to test on (default: 3000)")
    parser.add_argument("--half", type=int, choices=(0, 1), default=1, help="the half of the rows (default: 1)")
    parser.add_argument("--smoke", action="store_true", help="a few generated texts; the numbers mean nothing")
    options = parser.parse_args(arguments)
    names = [list(SETS)[int(number)] for number in options.sets.split(",")]
    rows = []
    for name in names[: 1 if options.smoke else None]:
        kind, count = ("generated", 60) if options.smoke else SETS[name]
        pool = _pool(kind, options)
        results = []
        for seed in map(int, options.seeds.split(",")[: 1 if options.smoke else None]):
            train, test = draw(pool, count, options.test_rows, seed)
            results.append(measure(train, test))
            print(f"{name}, seed {seed}: {results[-1]}", flush=True)
        rows.append([name, f"{count:,}", *_cells(results)])
    head = ["set", "rows", "accuracy: default", "words", "words and pairs"]
    print(circumstances(), "", sep="\n")
    print(table([*head, "log loss: default", "words", "words and pairs", "processor seconds"], rows))


def measure(train: Sequence[Row], test: Sequence[Row]) -> Result:
    """Train on rows with the defaults, and measure it and the baselines on other rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, rows in {"train": train, "test": test}.items():
            with (folder / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("text", "label"), *rows])
        command = ["train", "--data", str(folder / "train.csv"), "--test-data", str(folder / "test.csv")]
        started = time.process_time()
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as errors:
            status = model_main([*command, "--out", str(folder / "run")])
        seconds = time.process_time() - started
        if status:
            raise SystemExit(errors.getvalue())
        values = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))["values"]
    default = Scores(values["accuracy"], values["log_loss"])
    return Result(default, baseline(train, test, 1), baseline(train, test, 2), seconds)


def baseline(train: Sequence[Row], test: Sequence[Row], words: int) -> Scores:
    """Return the best accuracy and the best log loss of logistic regression on n-grams of up to `words` words."""
    vectorizer = TfidfVectorizer(ngram_range=(1, words), min_df=words, dtype=np.float32)
    features = vectorizer.fit_transform(text for text, _ in train)
    test_features = vectorizer.transform(text for text, _ in test)
    truth = [label for _, label in test]
    scores = []
    for strength in _STRENGTHS:
        classifier = LogisticRegression(C=strength, max_iter=1000).fit(features, [label for _, label in train])
        probabilities = classifier.predict_proba(test_features)
        right = accuracy_score(truth, classifier.classes_[probabilities.argmax(axis=1)])
        scores.append(Scores(float(right), float(log_loss(truth, probabilities))))
    return Scores(max(each.accuracy for each in scores), min(each.log_loss for each in scores))


def draw(pool: Sequence[Row], count: int, tests: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Return rows to train on and rows to test on, with as many of each label as the pool has."""
    generator = random.Random(seed)
    labels = sorted({label for _, label in pool})
    train: list[Row] = []
    test: list[Row] = []
    for label in labels:
        own = [row for row in pool if row[1] == label]
        generator.shuffle(own)
        size = count // len(labels)
        train += own[:size]
        test += own[size : size + tests // len(labels)]
    generator.shuffle(train)
    return train, test


def _pool(kind: str, options: argparse.Namespace) -> list[Row]:
    """Return the rows of a kind that belong to the chosen half, without repeated texts."""
    rows = {
        "imdb": lambda: _column(options.imdb / "train.parquet", "label"),
        "domains": lambda: _domains(options.reviews),
        "stars": lambda: _stars(options.reviews),
        "generated": _generated,
    }[kind]()
    unique = dict(rows)
    if kind == "generated":
        return list(unique.items())
    return [row for row in unique.items() if zlib.crc32(row[0].encode()) & 1 == options.half]


def _column(path: Path, column: str) -> Iterator[Row]:
    content = pq.read_table(path, columns=["text", column])
    for text, value in zip(content["text"].to_pylist(), content[column].to_pylist(), strict=True):
        yield text, f"{column} {value}"


def _domains(folder: Path) -> list[Row]:
    rows = list(_column(folder / "train.parquet", "domain"))
    names, counts = np.unique([name for _, name in rows], return_counts=True)
    chosen = set(names[counts >= _ROWS_OF_A_DOMAIN][:_DOMAINS].tolist())
    return [row for row in rows if row[1] in chosen]


def _stars(folder: Path) -> Iterator[Row]:
    wanted = {f"stars {number}.0" for number in range(1, 6)}
    for part in ("train", "unlabelled"):
        yield from (row for row in _column(folder / f"{part}.parquet", "stars") if row[1] in wanted)


def _generated() -> list[Row]:
    generator = random.Random(0)
    plain = ["the", "film", "a", "story", "of", "two", "people", "in", "town", "and", "it", "has", "an", "ending"]
    telling = {"bad": ["awful", "dull", "clumsy"], "good": ["lovely", "bright", "moving"]}
    return [
        (" ".join([*generator.choices(plain, k=6), *generator.choices(words, k=2)]), label)
        for label, words in telling.items()
        for _ in range(100)
    ]


def _cells(results: Sequence[Result]) -> list[str]:
    each = [[getattr(result, name) for result in results] for name in ("default", "words", "pairs")]
    accuracies = [f"{mean(scores.accuracy for scores in all_seeds):.4f}" for all_seeds in each]
    losses = [f"{mean(scores.log_loss for scores in all_seeds):.4f}" for all_seeds in each]
    return [*accuracies, *losses, f"{mean(result.seconds for result in results):.0f}"]


if __name__ == "__main__":
    main()
