"""The service's own metrics before and after a step: stages, processor time, memory, responses by status."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from loadtest.errors import LoadTestError
from loadtest.generation.probe import get
from loadtest.traffic.target import Target

_CPU = "process_cpu_seconds_total"

#: Snapshots that are taken to measure the cost of one, because the kernel counts processor time in units of 10 ms.
_COST_SNAPSHOTS = 5

#: The start of the lines that are read. Parsing all histograms would take longer than a short step.
_READ = (
    _CPU,
    "process_resident_memory_bytes",
    "sentiment_model_info",
    "sentiment_requests_total",
    "sentiment_stage_seconds_count",
    "sentiment_stage_seconds_sum",
    "sentiment_texts_total",
    "sentiment_workers",
)

Labels = frozenset[tuple[str, str]]


class Snapshot:
    """The service's metrics at one moment. They are empty if the service has none."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, dict[Labels, float]] = defaultdict(dict)
        lines = [line for line in text.splitlines(keepends=True) if line.startswith(_READ)]
        for family in text_string_to_metric_families("".join(lines)):
            for sample in family.samples:
                self._samples[sample.name][frozenset(sample.labels.items())] = sample.value

    @classmethod
    def take(cls, target: Target) -> Snapshot:
        """Take a snapshot. It is empty if the service does not answer."""
        try:
            return cls(get(target, "/metrics") or "")
        except (LoadTestError, ValueError):
            return cls("")

    def total(self, name: str) -> float | None:
        """Return the sum of all samples of a metric, or None if there are none."""
        return sum(self._samples[name].values()) if name in self._samples else None

    def by(self, name: str, *labels: str) -> dict[str, float]:
        """Return the samples of a metric, summed by the values of these labels, which a space separates."""
        sums: dict[str, float] = defaultdict(float)
        for own, value in self._samples.get(name, {}).items():
            sums[" ".join(dict(own).get(label, "") for label in labels)] += value
        return sums

    @property
    def workers(self) -> int | None:
        """The number of worker processes."""
        total = self.total("sentiment_workers")
        return None if total is None else int(total)

    @property
    def models(self) -> list[str]:
        """The loaded models, as `name version`."""
        infos = (dict(labels) for labels in self._samples.get("sentiment_model_info", {}))
        return sorted(f"{info.get('model')} {info.get('version')}" for info in infos)


def cost(target: Target) -> float:
    """Return the processor time of the service for one snapshot, in seconds."""
    first = Snapshot.take(target).total(_CPU)
    for _ in range(_COST_SNAPSHOTS):
        last = Snapshot.take(target).total(_CPU)
    return 0.0 if first is None or last is None else (last - first) / _COST_SNAPSHOTS


def between(before: Snapshot, after: Snapshot, overhead: float = 0.0) -> dict[str, Any] | None:
    """Return what the service did between two snapshots, or None if it has no metrics.

    `overhead` is the cost of a snapshot. `models` contains the models that answered texts, as `name version`, `stages`
    the mean duration per request, and `cpu_per_text` the processor time of all processes per text, both in seconds and
    over all requests between the snapshots. `cpu_seconds` is the processor time of all processes, with that of the
    snapshots.
    """
    statuses = _increase(before, after, "sentiment_requests_total", "status")
    if not statuses or before.total("sentiment_requests_total") is None:
        return None
    texts = _increase(before, after, "sentiment_texts_total", "model", "version")
    count = sum(texts.values())
    times = _increase(before, after, "sentiment_stage_seconds_sum", "stage")
    counts = _increase(before, after, "sentiment_stage_seconds_count", "stage")
    cpu = sum(_increase(before, after, _CPU).values())
    return {
        "texts": int(count),
        "models": sorted(model for model, answered in texts.items() if answered),
        "statuses": {status: int(count) for status, count in sorted(statuses.items()) if count},
        "stages": {name: round(times[name] / counts[name], 9) for name in times if counts[name]},
        "cpu_seconds": cpu if after.total(_CPU) is not None else None,
        "cpu_per_text": round(max(0.0, cpu - overhead) / count, 9) if cpu and count else None,
        "memory_bytes": after.total("process_resident_memory_bytes"),
        "workers": after.workers,
    }


def _increase(before: Snapshot, after: Snapshot, name: str, *labels: str) -> dict[str, float]:
    """Return how much each sample of a metric has increased, summed by the values of these labels."""
    earlier = before.by(name, *labels)
    return {key: value - earlier.get(key, 0.0) for key, value in after.by(name, *labels).items()}
