"""`python -m benchmarks.accuracy.training --imdb FOLDER --reviews FOLDER`: the default training on few rows.

Trains with `train --init-from none` on five sets of 300 to 2,000 reviews, and prints the accuracy next to that of the
baseline that `train` measures, which learns the same rows. A start from a shipped model is not allowed, because
`reviews` has learned most of these texts.

All rows, those to test on too, come from `train.parquet` of each folder, except the health apps, which are only in
`test.parquet`. Only one half of the rows in `train.parquet` is used, so that a configuration can be chosen on the other
half, with `--half 0`. Nothing may be chosen on the health apps.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from benchmarks.markdown import circumstances, table
from sentiment_conv1d.model.__main__ import main as model_main

Row = tuple[str, str]

_SHOPS = ("amazon-books", "amazon-dvd", "amazon-electronics", "amazon-kitchen")

#: The domains of the set "which of ten domains": the first of those that have this number of rows.
_DOMAINS, _ROWS_OF_A_DOMAIN = 10, 1000


class Result(NamedTuple):
    """The accuracy of one training and of its baseline, and the processor seconds of both and of the report."""

    network: float
    baseline: float
    seconds: float


#: The sets by name, and the number of rows to train on.
SETS = {
    "IMDB": 2000,
    "health apps": 900,
    "four shops": 1200,
    "which of ten domains": 1200,
    "all domains": 300,
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
        pool = generated() if options.smoke else _pool(name, options)
        count = 60 if options.smoke else SETS[name]
        results = []
        for seed in map(int, options.seeds.split(",")[: 1 if options.smoke else None]):
            train, test = draw(pool, count, options.test_rows, seed)
            results.append(measure(train, test))
            print(f"{name}, seed {seed}: {results[-1]}", flush=True)
        network, baseline, seconds = map(mean, zip(*results, strict=True))
        rows.append(
            [name, f"{count:,}", f"{network:.4f}", f"{baseline:.4f}", f"{network - baseline:+.4f}", f"{seconds:.0f}"]
        )
    print(circumstances(), "", sep="\n")
    print(table(["set", "rows", "default", "baseline", "difference", "processor seconds"], rows))


def measure(train: Sequence[Row], test: Sequence[Row]) -> Result:
    """Train anew on rows with the defaults, and measure it and the baseline on other rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [*train_command(folder, train, test), "--init-from", "none"]
        started = time.process_time()
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as errors:
            status = model_main(command)
        seconds = time.process_time() - started
        if status:
            raise SystemExit(errors.getvalue())
        values = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))["values"]
    return Result(values["accuracy"], values["baseline_accuracy"], seconds)


def train_command(folder: Path, train: Sequence[Row], test: Sequence[Row]) -> list[str]:
    """Write the rows into a folder, and return the command that trains on them and writes the run into `folder/run`."""
    for part, rows in {"train": train, "test": test}.items():
        with (folder / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    data = ["--data", str(folder / "train.csv"), "--test-data", str(folder / "test.csv")]
    return ["train", *data, "--out", str(folder / "run")]


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


def _pool(name: str, options: argparse.Namespace) -> list[Row]:
    """Return the rows of a set, without repeated texts, that belong to the chosen half."""
    rows: Iterable[Row]
    if name == "health apps":
        rows = _read(options.reviews / "test.parquet", lambda domain: domain == "health-apps")
        return list(dict(rows).items())
    if name == "IMDB":
        rows = _read(options.imdb / "train.parquet")
    elif name == "which of ten domains":
        rows = _domains(options.reviews / "train.parquet")
    else:
        wanted = (lambda domain: domain in _SHOPS) if name == "four shops" else None
        rows = _read(options.reviews / "train.parquet", wanted)
    return [row for row in dict(rows).items() if zlib.crc32(row[0].encode()) & 1 == options.half]


def _read(path: Path, wanted: Callable[[str], bool] | None = None) -> Iterator[Row]:
    """Yield the texts of the wanted domains with their opinions."""
    content = pq.read_table(path).to_pydict()
    domains = content.get("domain", [""] * len(content["text"]))
    for text, label, domain in zip(content["text"], content["label"], domains, strict=True):
        if label >= 0 and (wanted is None or wanted(domain)):
            yield text, ("negative", "positive")[label]


def _domains(path: Path) -> list[Row]:
    """Return the texts of several domains with their domains."""
    content = pq.read_table(path, columns=["text", "domain"]).to_pydict()
    names, counts = np.unique(content["domain"], return_counts=True)
    chosen = set(names[counts >= _ROWS_OF_A_DOMAIN][:_DOMAINS].tolist())
    return [row for row in zip(content["text"], content["domain"], strict=True) if row[1] in chosen]


def generated() -> list[Row]:
    """Return short texts with the labels bad and good, which two words reveal."""
    generator = random.Random(0)
    plain = ["the", "film", "a", "story", "of", "two", "people", "in", "town", "and", "it", "has", "an", "ending"]
    telling = {"bad": ["awful", "dull", "clumsy"], "good": ["lovely", "bright", "moving"]}
    return [
        (" ".join([*generator.choices(plain, k=6), *generator.choices(words, k=2)]), label)
        for label, words in telling.items()
        for _ in range(100)
    ]


if __name__ == "__main__":
    main()
