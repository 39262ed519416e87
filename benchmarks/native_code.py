"""`python -m benchmarks.native_code`: the processor time of predictions and look-ups with and without the native code.

Every shipped model predicts texts in process, on one thread, with both graphs in turn, and the words of the texts are
looked up in both vocabularies. The ratio is the median over the rounds of the ratios of a round.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any

from benchmarks import ARTIFACT, shipped
from benchmarks.markdown import circumstances, table
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer, WordTokenizer
from sentiment_conv1d.artifact.tokenizer.vocabulary import Vocabulary
from sentiment_conv1d.artifact.tokenizer.words import KERAS_RULE
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.inference.engine import NATIVE
from sentiment_conv1d.native.compilation import LIBRARY

MODELS = ("imdb-cnn", "imdb-cnn-8bit", "accurate", "reviews")


def main() -> None:
    """Measure and print both tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--texts", default=texts.IMDB, help="imdb (generated), or a .txt, .csv, .jsonl, .parquet")
    options.add_argument("--count", type=int, default=512)
    options.add_argument("--rounds", type=int, default=9)
    chosen = options.parse_args()

    tokenizer = read_artifact(ARTIFACT).tokenizer
    reviews = texts.choose(chosen.texts, tokenizer, chosen.count)
    kinds = {"whole": reviews, "20 words": texts.shorten(reviews)}
    cells = []
    for name in MODELS:
        predict = [each.predict for each in classifiers(shipped(name))]
        for kind, some in kinds.items():
            for size in (1, 32):
                groups = [some[start : start + size] for start in range(0, len(some), size)]
                cells.append([name, kind, str(size), *measure(predict, groups, len(some), chosen.rounds)])
    assert isinstance(tokenizer, VocabularyTokenizer)
    ids = {word: number for text, number in tokenizer.known_ids.items() for word in WordTokenizer.split(text)}
    look_up = [Vocabulary.of(ids, KERAS_RULE.spelling, library).look_up for library in (Path("missing"), LIBRARY)]
    looked_up = []
    for kind, some in kinds.items():
        encoded = [[text.encode() for text in some[start : start + 32]] for start in range(0, len(some), 32)]
        looked_up.append([kind, *measure(look_up, encoded, len(some), chosen.rounds)])
    print(circumstances())
    print(f"Text to prediction on one thread, medians of {chosen.rounds} rounds of {len(reviews)} texts.\n")
    print(table(["model", "texts", "at a time", "µs per text without", "with the operator", "ratio"], cells))
    print("\nLooking up the words of a text, 32 texts at a time:\n")
    print(table(["texts", "µs per text in Python", "in C++", "ratio"], looked_up))


def classifiers(path: Path) -> tuple[Classifier, Classifier]:
    """Return a classifier without the operator, and one with it."""
    artifact = read_artifact(path)
    general, native = Classifier(artifact, native=False), Classifier(artifact)
    if native.engine.operator != NATIVE:
        raise SystemExit(f"the native operator is not used: {native.engine.operator}")
    return general, native


def measure(pair: Sequence[Callable[[Any], Any]], arguments: Sequence[Any], texts: int, rounds: int) -> list[str]:
    """Return the medians of the processor time of both functions in microseconds per text, and of their ratio."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for function, times in zip(pair, seconds, strict=True):
            started = thread_time()
            for each in arguments:
                function(each)
            if number:  # the first round allocates memory
                times.append(thread_time() - started)
    ratio = median(after / before for before, after in zip(*seconds, strict=True))
    return [*(f"{1e6 * median(times) / texts:.1f}" for times in seconds), f"{ratio:.2f}"]


if __name__ == "__main__":
    main()
