"""`python -m benchmarks.native_operator`: the processor time of a prediction with and without the native operator.

Every shipped model predicts texts in process, on one thread, with both graphs in turn. The ratio is the
median over the rounds of the ratios of a round.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import thread_time

from benchmarks.baselines.naive import ARTIFACT
from benchmarks.markdown import circumstances, table
from loadtest.traffic import texts
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.engine import NATIVE
from sentiment_conv1d.model.artifact import read_artifact

REPOSITORY = ARTIFACT.parent.parent
MODELS = ("imdb-cnn", "imdb-cnn-8bit", "accurate")


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--texts", default=texts.IMDB, help="imdb (generated), or a .txt, .csv, .jsonl, .parquet")
    options.add_argument("--count", type=int, default=512)
    options.add_argument("--rounds", type=int, default=9)
    chosen = options.parse_args()

    reviews = texts.choose(chosen.texts, read_artifact(ARTIFACT).tokenizer, chosen.count)
    cells = []
    for name in MODELS:
        pair = classifiers(REPOSITORY / name / "1")
        for kind, some in {"whole": reviews, "20 words": texts.shorten(reviews)}.items():
            for size in (1, 32):
                general, native = measure(pair, some, size, chosen.rounds)
                ratio = median(after / before for before, after in zip(general, native, strict=True))
                microseconds = (f"{1e6 * median(times) / len(some):.1f}" for times in (general, native))
                cells.append([name, kind, str(size), *microseconds, f"{ratio:.2f}"])
    print(circumstances())
    print(f"Text to prediction on one thread, medians of {chosen.rounds} rounds of {len(reviews)} texts.\n")
    print(table(["model", "texts", "at a time", "µs per text without", "with the operator", "ratio"], cells))


def classifiers(path: Path) -> tuple[Classifier, Classifier]:
    """Return a classifier without the operator, and one with it."""
    artifact = read_artifact(path)
    general, native = Classifier(artifact, native=False), Classifier(artifact)
    if native.engine.operator != NATIVE:
        raise SystemExit(f"the native operator is not used: {native.engine.operator}")
    return general, native


def measure(
    pair: tuple[Classifier, Classifier], reviews: Sequence[str], size: int, rounds: int
) -> tuple[list[float], list[float]]:
    """Return the seconds of processor time for all texts, in groups, of both classifiers in every round."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for classifier, times in zip(pair, seconds, strict=True):
            started = thread_time()
            for start in range(0, len(reviews), size):
                classifier.predict(reviews[start : start + size])
            if number:  # the first round allocates memory
                times.append(thread_time() - started)
    return seconds


if __name__ == "__main__":
    main()
