"""`python -m benchmarks.explaining`: the cost of an explanation, compared with a prediction for the same text.

It measures requests to the service, one after the other on one connection, and calls in process on one thread, in
several alternating rounds over all texts. An explanation includes the prediction, like the answer of `/v1/explain`. An
inspection includes both, over the full length of the model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks import ARTIFACT
from benchmarks.markdown import circumstances, table
from loadtest.processes import Server
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.artifact.tokenizer import Encoding
from sentiment_conv1d.inference.classifier import Classifier


def measure(
    works: dict[str, Callable[[str], object]],
    reviews: Sequence[str],
    rounds: int,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, float]:
    """Return the microseconds per text of each kind of work: medians over the rounds, in which the kinds alternate."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = clock()
            for review in reviews:
                work(review)
            seconds[name].append((clock() - started) / len(reviews))
    return {name: 1e6 * median(times) for name, times in seconds.items()}


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--artifact", type=Path, default=ARTIFACT)
    options.add_argument("--texts", type=Path, help="a file: lines, .csv, .jsonl or .parquet (default: generated)")
    options.add_argument("--count", type=int, default=512)
    options.add_argument("--rounds", type=int, default=7)
    chosen = options.parse_args()

    artifact = read_artifact(chosen.artifact)
    classifier = Classifier(artifact)

    def predict(text: str) -> tuple[Encoding, str]:
        [encoding] = classifier.encode((text,))
        [prediction], _ = classifier.classify((encoding,))
        return encoding, prediction.label

    in_process: dict[str, Callable[[str], object]] = {
        "predict": predict,
        "explain": lambda text: classifier.explainer.explain(text, *predict(text)),
        "inspect": lambda text: classifier.explainer.inspect(text, *predict(text)),
    }
    reviews = (
        texts.read(chosen.texts, chosen.count) if chosen.texts else texts.generate(artifact.tokenizer, chosen.count)
    )
    arguments = ("-m", "service", "serve", "--workers", "1", "--port", "{port}", "--grpc-port", "{grpc_port}")
    repository = ("--model-repository", str(chosen.artifact.parent.parent), "--default-model", artifact.manifest.name)
    with Server("service", *arguments, *repository, probe="/readyz") as server:
        connection = HTTPConnection("127.0.0.1", server.port)

        def post(path: str) -> Callable[[str], object]:
            def request(text: str) -> bytes:
                connection.request("POST", path, json.dumps({"text": text}))
                return connection.getresponse().read()

            return request

        requests = {name: post(f"/v1/{name}") for name in in_process}
        columns = [
            measure(works, each, chosen.rounds)
            for works in (requests, in_process)
            for each in (reviews, texts.shorten(reviews))
        ]
        connection.close()
    print(circumstances())
    print(f"One worker, medians of {chosen.rounds} rounds of {chosen.count} texts.\n")
    head = ["µs per text", "request, whole", "request, 20 words", "in process, whole", "in process, 20 words"]
    rows = [[name, *(f"{column[name]:,.0f}" for column in columns)] for name in in_process]
    print(table(head, [*rows, ["explain / predict", *(f"{c['explain'] / c['predict']:.1f}" for c in columns)]]))


if __name__ == "__main__":
    main()
