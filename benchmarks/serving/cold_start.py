"""`python -m benchmarks.serving.cold_start`: from the start of the process to the first answer.

The service has one processor, one worker and no gRPC. Its files are in the kernel's cache, so the time that a platform
takes to fetch the image is not included.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.markdown import circumstances, number, spread, table
from loadtest.processes import PROJECT, Server

_MODELS = PROJECT / "model_repository"
_CHOICES = {"all shipped": ("accurate", "imdb-cnn", "imdb-cnn-8bit", "reviews"), "reviews": ("reviews",)}
_BODY = json.dumps({"text": "A gripping, beautifully acted film."}).encode()


class Start(NamedTuple):
    """What a start took: seconds until the first answer, processor seconds, and megabytes of memory."""

    seconds: float
    cpu: float
    memory: float


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for title, names in _CHOICES.items():
            repository = _repository(Path(folder) / names[0], names)
            starts = [_start(repository) for _ in range(options.rounds)]
            seconds, cpu, memory = zip(*starts, strict=True)
            rows.append([title, spread(seconds), spread(cpu), number(median(memory))])
    print(circumstances())
    print(f"Medians of {options.rounds} rounds, and their range.\n")
    print(table(["models", "s to the first answer", "processor s", "MiB"], rows))


def _repository(folder: Path, names: Iterable[str]) -> Path:
    for name in names:
        shutil.copytree(_MODELS / name, folder / name)
    return folder


def _start(repository: Path) -> Start:
    flags = ("--host", "127.0.0.1", "--port", "{port}", "--no-grpc", "--workers", "1")
    serve = ("-m", "service", "serve", "--model-repository", str(repository), *flags)
    with Server("the service", *serve, probe="/readyz") as server:
        began = time.perf_counter()
        url = f"http://127.0.0.1:{server.port}/v1/predict"
        request = urllib.request.Request(url, _BODY, {"content-type": "application/json"})
        urllib.request.urlopen(request).close()
        seconds = server.ready_seconds + time.perf_counter() - began
        return Start(seconds, server.cpu_seconds(), sum(server.pss_megabytes()))


if __name__ == "__main__":
    main()
