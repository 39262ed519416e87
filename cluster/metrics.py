"""The sum of the metrics of all replicas. The samples of the other replicas are at most some seconds old.

Each replica reports its samples to the board and gets the sum of the others. The board keeps the counts of replicas
that have ended, so counters do not decrease when a replica ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Any

#: Seconds between two reports of a replica.
INTERVAL = 5.0

#: Seconds without a report after which the board treats a replica as ended.
_GONE = 6 * INTERVAL

#: Suffixes of the series that are kept when a replica ends.
_COUNTED = ("_total", "_count", "_sum", "_bucket")

#: Samples that have the same value in all replicas, so they are not added up.
_FACTS = ("sentiment_model_info", "sentiment_model_state", "sentiment_labelled_version_missing")

Samples = dict[str, float]


def samples_of(text: str) -> Samples:
    """Return the samples of an exposition that are not 0, by name and labels."""
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, number in lines if (value := float(number))}


def add(samples: Iterable[Mapping[str, float]]) -> Samples:
    """Return the sum of the samples of several replicas."""
    total: Counter[str] = Counter()
    for each in samples:
        total.update(each)
    facts = {name: value for each in samples for name, value in each.items() if name.startswith(_FACTS)}
    return {**total, **facts}


class Board:
    """Stores the last report of every replica."""

    def __init__(self) -> None:
        self._reports: dict[str, tuple[float, Samples]] = {}
        self._ended: Samples = {}

    def report(self, replica: str, samples: Samples) -> Samples:
        """Store the samples of a replica and return the sum of the others."""
        now = monotonic()
        self._reports[replica] = now, samples
        for name, (reported, last) in list(self._reports.items()):
            if now - reported > _GONE:
                del self._reports[name]
                counted = {key: value for key, value in last.items() if key.partition("{")[0].endswith(_COUNTED)}
                self._ended = add((self._ended, counted))
        return add([self._ended, *(last for name, (_, last) in self._reports.items() if name != replica)])


class SummedMetrics:
    """Replaces the metrics of a replica in `/metrics`."""

    def __init__(self, metrics: Any) -> None:
        self._metrics = metrics
        self.others: Samples = {}

    def expose(self, *facts: Any) -> bytes:
        """Return the exposition of all replicas."""
        left = dict(self.others)
        lines = []
        for line in self._metrics.expose(*facts).decode().splitlines():
            if line and not line.startswith("#"):
                name, _, number = line.rpartition(" ")
                other = left.pop(name, 0.0)
                value = max(float(number), other) if name.startswith(_FACTS) else float(number) + other
                line = f"{name} {value}"
            lines.append(line)
        # Series of models that only other replicas serve.
        lines += [f"{name} {value}" for name, value in left.items()]
        return "\n".join([*lines, ""]).encode()
