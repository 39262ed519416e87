"""`python -m benchmarks.explaining`: what an explanation costs, against a prediction for the same text.

Both in process on one thread, in turn, several rounds of all texts. An explanation holds the prediction, as the answer
of `/v1/explain` does; an inspection holds both, over the full length of the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks import texts
from benchmarks.naive import ARTIFACT
from model.artifact import read_artifact
from model.tokenizer import Encoding
from service.classifier import Classifier


def measure(works: dict[str, Callable[[str], object]], reviews: Sequence[str], rounds: int) -> dict[str, float]:
    """Microseconds a text of every work: medians over the rounds, in each of which all of them take their turn."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = perf_counter()
            for review in reviews:
                work(review)
            seconds[name].append((perf_counter() - started) / len(reviews))
    return {name: 1e6 * median(times) for name, times in seconds.items()}


def main() -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--artifact", type=Path, default=ARTIFACT)
    options.add_argument("--texts", type=Path, help="a file with a text a line; without it, texts are generated")
    options.add_argument("--count", type=int, default=512)
    options.add_argument("--rounds", type=int, default=7)
    chosen = options.parse_args()

    artifact = read_artifact(chosen.artifact)
    classifier = Classifier(artifact)

    def predict(text: str) -> tuple[Encoding, str]:
        [encoding] = classifier.encode((text,))
        return encoding, classifier.classify((encoding,)).predictions[0].label

    works: dict[str, Callable[[str], object]] = {
        "predict": predict,
        "explain": lambda text: classifier.explainer.explain(text, *predict(text)),
        "inspect": lambda text: classifier.explainer.inspect(text, *predict(text)),
    }
    reviews = (
        texts.read(chosen.texts, chosen.count) if chosen.texts else texts.generate(artifact.tokenizer, chosen.count)
    )
    print("| µs a text | whole | 20 words |\n|---|---|---|")
    columns = [measure(works, each, chosen.rounds) for each in (reviews, texts.shorten(reviews))]
    for name in works:
        print(f"| {name} | " + " | ".join(f"{column[name]:.0f}" for column in columns) + " |")
    print("| explain / predict | " + " | ".join(f"{c['explain'] / c['predict']:.1f}" for c in columns) + " |")


if __name__ == "__main__":
    main()
