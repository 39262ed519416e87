"""`python -m benchmarks.caches`: the cost of a text after other work has emptied the processor's caches.

A loop over the model alone finds code and tables in the caches. A request between network code, or after the process
has slept, does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter, sleep

import numpy as np

from benchmarks.baselines.naive import ARTIFACT
from benchmarks.markdown import circumstances, number, table
from loadtest.traffic import texts
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.model.artifact import read_artifact

_MEGABYTE = 2**20


def reading(megabytes: int) -> Callable[[], object]:
    """Return work that reads so much memory."""
    memory = np.zeros(megabytes * _MEGABYTE // 8)
    return memory.sum


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=300, help="texts (default: 300)")
    options = parser.parse_args()
    artifact = read_artifact(ARTIFACT)
    classifier = Classifier(artifact)
    whole = texts.generate(artifact.tokenizer, options.count)
    between: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "20 µs of sleep": lambda: sleep(20e-6),
        "reading 1 MB": reading(1),
        "reading 4 MB": reading(4),
        "reading 16 MB": reading(16),
    }
    rows = []
    for kind, each in (("whole", whole), ("20 words", texts.shorten(whole))):
        for name, work in between.items():
            tokenize, graph = [], []
            for _ in range(options.rounds):
                for text in each:
                    work()
                    started = perf_counter()
                    encodings = classifier.encode((text,))
                    encoded = perf_counter()
                    classifier.classify(encodings)
                    graph.append(perf_counter() - encoded)
                    tokenize.append(encoded - started)
            rows.append([kind, name, number(median(tokenize) * 1e6), number(median(graph) * 1e6)])
    print(circumstances())
    print(f"Medians of {options.rounds} rounds of {options.count} texts, µs per text.\n")
    print(table(["texts", "work before each", "tokenize", "graph"], rows))


if __name__ == "__main__":
    main()
