"""`python -m benchmarks.scoring`: the offline rate from Parquet to Parquet, on two cores of this machine.

It compares the local engine with the limit of two cores: twice the rate of one core that classifies the same texts in
batches, without reading and writing. Two processes at the same time can be slower than that, because their cores share
caches, so they are measured too. Further cases are the usual loop over the rows of a pandas DataFrame, with one
`InferenceSession.run` per row, and Ray Data with two actors, if their packages are installed.

If other programs share the cores, the rates mean little. The processor time per review hardly depends on them. It does
not include the start of processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple

import pyarrow
from pyarrow import parquet

from benchmarks.markdown import circumstances, number, table
from loadtest.traffic.texts import generate
from sentiment_conv1d.model.artifact import read_artifact
from sentiment_conv1d.scoring.local import LocalEngine
from sentiment_conv1d.scoring.part import Job, score_part
from sentiment_conv1d.scoring.plan import plan
from sentiment_conv1d.scoring.run import Engine, Output, score_sources
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.scoring.storage import find_sources

ARTIFACT = Path(__file__).parent.parent / "model_repository" / "imdb-cnn" / "1"

#: Texts per batch in process.
BATCH = 256

#: The most texts for each of two processes, which get a copy of them.
_TOGETHER = 100_000

#: The most rows for the naive loop, which is slow.
_NAIVE_ROWS = 2000


class Measurement(NamedTuple):
    """The duration of a measurement."""

    rows: int
    seconds: float
    processor_seconds: float | None  # None if other processes did the work


def measure(rows: int, work: Callable[[], object], *, here: bool = True) -> Measurement:
    """Measure work on rows. `here` means that this process does the work."""
    began, processor_began = perf_counter(), process_time()
    work()
    return Measurement(rows, perf_counter() - began, process_time() - processor_began if here else None)


def classify(texts: list[str]) -> None:
    """Classify on one core, which is the limit."""
    classifier = Session(str(ARTIFACT)).classifier()
    for start in range(0, len(texts), BATCH):
        classifier.predict(texts[start : start + BATCH])


def classify_together(texts: list[str]) -> Measurement:
    """Classify in two processes at the same time, which share the session. Their start does not count."""
    Session(str(ARTIFACT)).classifier()
    context = multiprocessing.get_context("fork")
    barrier, seconds = context.Barrier(2), context.SimpleQueue()
    processes = [context.Process(target=_classify_after, args=(barrier, seconds, texts)) for _ in range(2)]
    for process in processes:
        process.start()
    slower = max(seconds.get() for _ in processes)
    for process in processes:
        process.join()
    return Measurement(2 * len(texts), slower, None)


def _classify_after(barrier: Barrier, seconds: SimpleQueue[float], texts: list[str]) -> None:
    classify(texts[:BATCH])
    barrier.wait()
    seconds.put(measure(len(texts), partial(classify, texts)).seconds)


def score_parts(source: Path, folder: Path) -> None:
    """Score like a process of the local engine."""
    job = Job(Session(str(ARTIFACT)), str(folder), ".parquet")
    for part in plan(find_sources([str(source)])):
        score_part(job, part)


def score_locally(source: Path, out: Path, columns: tuple[str, ...] | None) -> None:
    """Score with two processes, like the command `predict`."""
    with LocalEngine(Session(str(ARTIFACT)), 2) as engine:
        score(source, out, engine, columns)


def score(source: Path, out: Path, engine: Engine, columns: tuple[str, ...] | None = None) -> None:
    """Score like the command `predict`, with its option `--columns`."""
    output = Output(str(out), single=False, extension=".parquet")
    job = Job(Session(str(ARTIFACT)), "", ".parquet", columns=columns)
    score_sources(find_sources([str(source)]), output, job, engine, overwrite=True, progress=False)


def loop(source: Path, out: Path) -> None:
    """Score with the usual loop."""
    import pandas

    from benchmarks.baselines.naive import Naive

    naive = Naive()
    frame = pandas.read_parquet(source).head(_NAIVE_ROWS)
    frame["score"] = [naive.predict(text) for text in frame["text"]]
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
            "one core, parts in process": partial(measure, len(texts), partial(score_parts, source, folder)),
        }
        for case, columns in (("2 processes", None), ("2 processes, `--columns id`", ("id",))):
            work = partial(score_locally, source, folder / "local", columns)
            cases[f"local engine, {case}"] = partial(measure, len(texts), work, here=False)
        if find_spec("ray"):
            from sentiment_conv1d.scoring.ray_data import score_on_ray

            engine = partial(score_on_ray, workers=2)
            work = partial(score, source, folder / "ray", engine)
            cases["Ray Data, 2 actors"] = partial(measure, len(texts), work, here=False)
        if find_spec("pandas") and find_spec("onnx") and find_spec("tokenizers"):
            work = partial(loop, source, folder / "naive.parquet")
            cases["naive loop, one core"] = partial(measure, min(len(texts), _NAIVE_ROWS), work)
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
        times = [each.processor_seconds / each.rows * 1e6 for each in found if each.processor_seconds is not None]
        microseconds = number(median(times)) if times else ""
        rows.append((case, number(rates[case]), f"{rates[case] / most:.2f}", microseconds))
    print(circumstances(), f"Medians of {len(found)} rounds.\n")
    print(table(("", "reviews/s", "relative to twice one core", "CPU µs per review"), rows))


if __name__ == "__main__":
    main()
