"""The cost of a text in process, on one thread: alone, and while other processes do the same.

The processors of a machine share caches and memory, so a process is slower while others run. The workers of a server
run at the same time, so they are compared with processes that do too.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from time import perf_counter
from typing import Any

from benchmarks.baselines.competent import Competent
from sentiment_conv1d.inference.classifier import Classifier

#: The names of the stages.
PREDICT, PREDICT_32 = "text to probabilities", "text to probabilities, 32 at a time"
AMONG, AMONG_32 = f"{PREDICT}, every processor at it", f"{PREDICT_32}, every processor at it"
QUANTIZED, QUANTIZED_32 = f"{PREDICT}, 8 bits", f"{PREDICT_32}, 8 bits"
COMPETENT = "text to probability, as in FastAPI"

#: Texts per turn. The stages alternate, so that all of them run under the same conditions.
_TURN = 256


@dataclass(frozen=True)
class Classifiers:
    """This service's classifier with both forms of the model, and that of the application in FastAPI."""

    float32: Classifier
    quantized: Classifier
    competent: Competent


def measure_stages(
    stages: dict[str, list[float]], classifiers: Classifiers, texts: Sequence[str], processes: int
) -> None:
    """Add the seconds per text of every stage. `AMONG` is the mean of so many concurrent processes."""
    work: dict[str, tuple[Callable[[Sequence[str]], Any], int]] = {
        "tokenize": (classifiers.float32.encode, 1),
        PREDICT: (classifiers.float32.predict, 1),
        QUANTIZED: (classifiers.quantized.predict, 1),
        PREDICT_32: (classifiers.float32.predict, 32),
        QUANTIZED_32: (classifiers.quantized.predict, 32),
        COMPETENT: (classifiers.competent.predict, 1),
    }
    seconds = dict.fromkeys(work, 0.0)
    for start in range(0, len(texts), _TURN):
        for name, (function, size) in work.items():
            seconds[name] += _seconds(function, texts[start : start + _TURN], size)
    for name, spent in seconds.items():
        stages[name].append(spent / len(texts))
    for name, size in ((AMONG, 1), (AMONG_32, 32)):
        stages[name].append(
            _together(processes, partial(_seconds, classifiers.float32.predict, texts, size)) / len(texts)
        )


def _seconds(function: Callable[[Sequence[str]], Any], texts: Sequence[str], size: int) -> float:
    """Return the seconds for all texts in batches of this size."""
    groups = [texts[start : start + size] for start in range(0, len(texts), size)]
    started = perf_counter()
    for group in groups:
        function(group)
    return perf_counter() - started


def _together(processes: int, measure: Callable[[], float]) -> float:
    """Return the mean of the measurements of so many concurrent processes."""
    context = multiprocessing.get_context("fork")  # the processes share the session, like the service's workers
    barrier = context.Barrier(processes)
    results: Any = context.SimpleQueue()

    def run() -> None:
        barrier.wait()
        results.put(measure())

    others = [context.Process(target=run) for _ in range(processes)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    return fmean(results.get() for _ in others)
