"""`python -m benchmarks.scoring`: the offline rate from Parquet to Parquet, on two cores of this machine.

It compares `predict` with the limit of two cores: twice the rate of one core that classifies the same texts in
batches, without reading and writing. Two processes at the same time can be slower than that, because their cores share
caches, so they are measured too. A further case is the usual loop over the rows of a pandas DataFrame, with one
`InferenceSession.run` per row, if pandas is installed.

If other programs share the cores, the rates mean little. The processor time per review hardly depends on them. It is
that of all processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import pyarrow
from pyarrow import parquet

from benchmarks import ARTIFACT
from benchmarks.baselines.competent import Competent
from benchmarks.markdown import circumstances, number, table
from loadtest.traffic.texts import generate
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.scoring.files import Output, Source
from sentiment_conv1d.scoring.pool import Pool
from sentiment_conv1d.scoring.run import Job, score_file
from sentiment_conv1d.scoring.session import Session

#: Texts per batch in process.
BATCH = 256

#: The most texts for each of two processes, which get a copy of them.
_TOGETHER = 100_000

#: The most rows for the loop over a data frame, which is slow.
_LOOP_ROWS = 20_000


class Measurement(NamedTuple):
    """The duration of a measurement."""

    rows: int
    seconds: float
    processor_seconds: float  # of this process and of those that it started and waited for


def measure(rows: int, work: Callable[[], object]) -> Measurement:
    """Measure work on rows."""
    began, processor_began = perf_counter(), sum(os.times()[:4])
    work()
    return Measurement(rows, perf_counter() - began, sum(os.times()[:4]) - processor_began)


def classify(texts: list[str]) -> None:
    """Classify on one core, which is the limit."""
    classifier = Session(str(ARTIFACT)).classifier()
    for start in range(0, len(texts), BATCH):
        classifier.predict(texts[start : start + BATCH])


def classify_together(texts: list[str]) -> Measurement:
    """Classify in two processes at the same time, which share the session. Their start does not count."""
    Session(str(ARTIFACT)).classifier()
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.SimpleQueue()
    processes = [context.Process(target=_classify_after, args=(barrier, results, texts)) for _ in range(2)]
    for process in processes:
        process.start()
    measured = [results.get() for _ in processes]
    for process in processes:
        process.join()
    seconds, processor_seconds = zip(*(each[1:] for each in measured), strict=True)
    return Measurement(2 * len(texts), max(seconds), sum(processor_seconds))


def _classify_after(barrier: Barrier, results: SimpleQueue[Measurement], texts: list[str]) -> None:
    classify(texts[:BATCH])
    barrier.wait()
    results.put(measure(len(texts), partial(classify, texts)))


def score(source: Path, out: Path, workers: int, columns: tuple[str, ...] | None = None) -> None:
    """Score like the command `predict`, with its options `--workers` and `--columns`."""
    with Pool(Session(str(ARTIFACT)), workers) as pool:
        score_file(Source.at(source), Output(str(out)), pool, Job(columns=columns), overwrite=True, progress=False)


def loop(source: Path, out: Path) -> None:
    """Score with the usual loop."""
    import pandas

    classifier = Competent(ARTIFACT)
    frame = pandas.read_parquet(source).head(_LOOP_ROWS)
    frame["score"] = [classifier.predict([text])[0] for text in frame["text"]]
    frame.to_parquet(out)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scoring", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=300_000, help="reviews (default: 300000)")
    options = parser.parse_args()
    texts = generate(read_artifact(ARTIFACT).tokenizer, options.count)
    rounds: dict[str, list[Measurement]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "reviews.parquet"
        parquet.write_table(pyarrow.table({"id": range(len(texts)), "text": texts}), source)
        cases = {
            "one core, batches in process": partial(measure, len(texts), partial(classify, texts)),
            "two cores, batches in two processes": partial(classify_together, texts[:_TOGETHER]),
            "`predict`, one process": partial(measure, len(texts), partial(score, source, folder / "one.parquet", 1)),
        }
        for case, columns in (("2 processes", None), ("2 processes, `--columns id`", ("id",))):
            work = partial(score, source, folder / "two.parquet", 2, columns)
            cases[f"`predict`, {case}"] = partial(measure, len(texts), work)
        if find_spec("pandas"):
            work = partial(loop, source, folder / "loop.parquet")
            cases["loop over a pandas DataFrame, one core"] = partial(measure, min(len(texts), _LOOP_ROWS), work)
        classify(texts[:BATCH])
        for _ in range(options.rounds):
            for case, run in cases.items():
                rounds.setdefault(case, []).append(run())
    report(rounds)


def report(rounds: dict[str, list[Measurement]]) -> None:
    """Print medians."""
    rates = {case: median(each.rows / each.seconds for each in found) for case, found in rounds.items()}
    most = 2 * rates["one core, batches in process"]
    rows = []
    for case, found in rounds.items():
        microseconds = median(each.processor_seconds / each.rows * 1e6 for each in found)
        rows.append((case, number(rates[case]), f"{rates[case] / most:.2f}", number(microseconds)))
    print(circumstances(), f"Medians of {len(found)} rounds.\n")
    print(table(("", "reviews/s", "relative to twice one core", "CPU µs per review"), rows))


if __name__ == "__main__":
    main()
