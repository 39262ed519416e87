"""Metrics by name, and the slots of shared memory in which their series are counted.

A metric is declared once, as a `Metric`. A `Layout` gives each of its series the next free slots, and the exposition
reads the declarations, so nothing else says where a number lies.

The memory is ours because prometheus_client shares counts between processes through files: that needs a writable
folder, and a `Counter.inc` and a `Histogram.observe` take 3.4 µs there against 0.35 µs here.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Literal, NamedTuple, TypeAlias

from sentiment_conv1d.service.telemetry.histogram import Histogram

Kind = Literal["counter", "gauge", "histogram"]

#: Values of the labels of one series, in their order.
Values: TypeAlias = tuple[str, ...]


class Metric(NamedTuple):
    """The declaration of a metric. The bounds of a histogram and its sum are multiples of `unit`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()  # ascending
    unit: float = 1.0


class Series(NamedTuple):
    """One series of a metric: its first slot, or None if its number is always 1."""

    values: Values
    slot: int | None


class Layout:
    """The slots of declared series, one after the other from `first` to before `end`.

    `shared` are labels that have the same value in every series. The methods take the values of a metric's other
    labels, and raise `ValueError` if there are not as many.
    """

    def __init__(self, first: int = 0, **shared: str) -> None:
        self.first = self.end = first
        self.series: dict[Metric, list[Series]] = {}
        self.rare: list[int] = []  # slots of the series that are exposed only if they have counted something
        self._shared = shared

    def number(self, metric: Metric, *values: str) -> int:
        """The slot of one series of a counter or a gauge."""
        return self.numbers(metric, [values])[values]

    def numbers(self, metric: Metric, keys: Iterable[Values], rare: Container[Values] = ()) -> dict[Values, int]:
        """The slots of several series of a counter or a gauge, by their values; those in `rare` are rare."""
        slots = {values: self._add(metric, values, 1) for values in self._declared(metric, keys)}
        self.rare += [slot for values, slot in slots.items() if values in rare]
        return slots

    def histograms(self, metric: Metric, keys: Iterable[Values]) -> dict[Values, Histogram]:
        """Several series of a histogram, by their values."""
        slots = Histogram.slots(metric.bounds)
        return {
            values: Histogram(self._add(metric, values, slots), metric.bounds)
            for values in self._declared(metric, keys)
        }

    def histogram(self, metric: Metric, *values: str) -> Histogram:
        """One series of a histogram."""
        return self.histograms(metric, [values])[values]

    def unexposed(self) -> int:
        """The slot of a number that is not a metric."""
        self.end += 1
        return self.end - 1

    def ones(self, metric: Metric, keys: Iterable[Values]) -> None:
        """Series that are 1 as long as they exist."""
        self.series[metric] = [Series(values, None) for values in keys]

    def slots_of(self, kind: Kind) -> list[int]:
        """The first slots of all series of a kind."""
        return [
            each.slot
            for metric, series in self.series.items()
            for each in series
            if metric.kind == kind and each.slot is not None
        ]

    def _declared(self, metric: Metric, keys: Iterable[Values]) -> Iterable[Values]:
        """The keys; the metric is exposed even if there are none."""
        self.series.setdefault(metric, [])
        return keys

    def _add(self, metric: Metric, values: Values, slots: int) -> int:
        own = [label for label in metric.labels if label not in self._shared]
        if len(own) != len(values):
            raise ValueError(f"{metric.name} has the labels {own}, not the values {values}")
        given = self._shared | dict(zip(own, values, strict=True))
        complete = tuple(given[label] for label in metric.labels)
        slot = self.end
        self.series[metric].append(Series(complete, slot))
        self.end += slots
        return slot
