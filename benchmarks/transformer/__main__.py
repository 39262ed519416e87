"""`python -m benchmarks.transformer`: the shipped models and a small transformer, on one core, in process.

The transformer has the shape of MiniLM-L6 and random weights, on which speed, memory and start do not depend. It runs
in the pipeline of `transformers`, and with 8-bit weights in ONNX Runtime. `--install` creates their environment. The
accuracies are those of the same shape after fine-tuning, see `research.transformer`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import ARTIFACT, environments, shipped
from benchmarks.environments import NotInstalled
from benchmarks.markdown import circumstances, number, table
from benchmarks.serving.cases import SHORT, WHOLE
from loadtest.processes import PROJECT
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import read_artifact

_ENVIRONMENT = "transformers"
_PACKAGES = ("transformers", "torch", "onnxruntime")


class Model(NamedTuple):
    """A measured model."""

    title: str
    library: str  # of `process.LIBRARIES`
    weights: str  # the file
    domains: float  # mean accuracy on 36 domains, from research/reviews/reviews-accuracy.md
    films: float  # accuracy on 12,500 test reviews of IMDB, from the same page


_SHIPPED = (
    Model("imdb-cnn", "sentiment_conv1d", "model.onnx", 0.781, 0.891),
    Model("accurate", "sentiment_conv1d", "model.onnx", 0.806, 0.921),
    Model("reviews", "sentiment_conv1d", "model.onnx", 0.902, 0.916),
)
_TRANSFORMERS = (
    Model("MiniLM, 8 bits, ONNX Runtime", "onnxruntime", "model-8bit.onnx", 0.923, 0.908),
    Model("MiniLM, float32, `transformers` pipeline", "transformers", "model.safetensors", 0.923, 0.909),
)


class Measurement(NamedTuple):
    """One process: processor seconds per text by kind, memory in MB, and seconds from its start to the first answer."""

    seconds: dict[str, float]
    memory: float
    start: float


def main() -> None:
    """Install, or measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="create the environment without measuring")
    parser.add_argument("--python", default=sys.executable, help="Python of the environment (default: this one)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=256, help="texts (default: 256)")
    options = parser.parse_args()
    if options.install:
        environments.install_missing({_ENVIRONMENT: _ENVIRONMENT}, options.python)
        return
    whole = texts.generate(read_artifact(ARTIFACT).tokenizer, options.count)
    kinds = {WHOLE: whole, SHORT: texts.shorten(whole)}
    print(circumstances())
    print(", ".join(f"{package} {environments.version(_ENVIRONMENT, package)}" for package in _PACKAGES))
    print(f"Medians of {options.rounds} rounds of {options.count} texts, one by one on one thread.\n")
    with tempfile.TemporaryDirectory() as name:
        print("\n\n".join(summary(kinds, options.rounds, Path(name))))


def summary(kinds: Mapping[str, Sequence[str]], rounds: int, folder: Path) -> Iterator[str]:
    """Measure, and return the table, and why models were not measured."""
    processes = {model: (sys.executable, shipped(model.title)) for model in _SHIPPED}
    reason = None
    try:
        python = environments.interpreter(_ENVIRONMENT)
    except NotInstalled as error:
        reason = f"MiniLM: {error}"
    else:
        subprocess.run([python, "-W", "ignore", "-m", "benchmarks.transformer.minilm", folder], cwd=PROJECT, check=True)
        processes |= dict.fromkeys(_TRANSFORMERS, (python, folder))
    measured: dict[Model, list[Measurement]] = {model: [] for model in processes}
    for _ in range(rounds):
        for model, process in processes.items():
            measured[model].append(measure(model.library, *process, kinds))
    rows = []
    for model, each in measured.items():
        rates = (number(1 / median(one.seconds[kind] for one in each)) for kind in kinds)
        memory, start = (median(values) for values in zip(*(one[1:] for one in each), strict=True))
        weights = (processes[model][1] / model.weights).stat().st_size / 1e6
        accuracies = (f"{model.domains:.3f}", f"{model.films:.3f}")
        rows.append([model.title, *rates, number(memory), number(start), number(weights), *accuracies])
    rates = (f"texts/s, {kind}" for kind in kinds)
    columns = (
        "memory MB",
        "s to the first answer",
        "weights MB",
        "accuracy, 36 domains, positive against negative",
        "accuracy, films, positive against negative",
    )
    yield table(["one core, in process", *rates, *columns], rows)
    if reason:
        yield reason


def measure(library: str, python: str, folder: Path, kinds: Mapping[str, Sequence[str]]) -> Measurement:
    """Measure a model in a new process."""
    started = time.monotonic()
    finished = subprocess.run(
        [python, "-m", "benchmarks.transformer.process", library, folder],
        cwd=PROJECT,
        input=json.dumps(kinds),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    printed = json.loads(finished.stdout)
    return Measurement(printed["seconds"], printed["memory"], printed["ready"] - started)


if __name__ == "__main__":
    main()
