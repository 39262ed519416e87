"""`python -m benchmarks.batch_sizes`: the throughput of the graph by batch size, on a processor or a GPU."""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter
from typing import get_args

import numpy as np

from benchmarks.baselines.naive import ARTIFACT
from benchmarks.markdown import circumstances, table
from sentiment_conv1d.inference.engine import Engine
from sentiment_conv1d.inference.options import ProviderChoice
from sentiment_conv1d.model.artifact import read_artifact

_SECONDS = 0.05  # of each measurement


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--execution-provider", choices=get_args(ProviderChoice), default="auto")
    parser.add_argument("--device", type=int, default=0, help="number of the CUDA device")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-rows", type=int, default=256)
    options = parser.parse_args()

    artifact = read_artifact(ARTIFACT)
    manifest = artifact.manifest
    engine = Engine(artifact.graph, artifact.input_shape, provider=options.execution_provider, device=options.device)
    sizes = [2**power for power in range(options.max_rows.bit_length()) if 2**power <= options.max_rows]
    random = np.random.default_rng(0)
    runs: dict[tuple[int, int], list[float]] = {}
    for _ in range(options.rounds):
        for sequence_length in (32, 128, manifest.max_tokens):
            for rows in sizes:
                tokens = random.integers(3, manifest.vocabulary_size, (rows, sequence_length), np.int32)
                runs.setdefault((rows, sequence_length), []).append(measure(engine, tokens))
    print(circumstances())
    print(f"{engine.provider}, medians of {options.rounds} rounds; every run copies ids in and probabilities out.\n")
    medians = sorted((sequence_length, rows, median(seconds)) for (rows, sequence_length), seconds in runs.items())
    cells = [
        [f"{sequence_length}", f"{rows}", f"{each * 1e6:,.0f}", f"{rows / each:,.0f}"]
        for sequence_length, rows, each in medians
    ]
    print(table(["ids", "rows", "µs per run", "texts/s"], cells))


def measure(engine: Engine, tokens: np.ndarray[tuple[int, int], np.dtype[np.int32]]) -> float:
    """Return the seconds per run."""
    engine.run(tokens, tokens.shape[1])
    started = perf_counter()
    runs = 0
    while (elapsed := perf_counter() - started) < _SECONDS or runs < 3:
        engine.run(tokens, tokens.shape[1])
        runs += 1
    return elapsed / runs


if __name__ == "__main__":
    main()
