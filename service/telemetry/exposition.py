"""The Prometheus text format, composed once and filled with numbers at every scrape.

Names and labels make up most of the text and rarely change. Because a scrape formats only the numbers, thousands of
series block the event loop for one or two milliseconds instead of dozens. The format is version 0.0.4, see
https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.service.telemetry.histogram import Histogram
from sentiment_conv1d.service.telemetry.layout import Layout, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Exposition(NamedTuple):
    """The text without its numbers, and the slots of the numbers."""

    template: str  # for the % operator
    slots: npt.NDArray[np.int64]
    units: npt.NDArray[np.float64]
    buckets: list[slice]

    def fill_in(self, totals: npt.NDArray[np.float64]) -> bytes:
        """Fill in the numbers, float64 [slots], in which the slots of histograms are cumulative."""
        for cells in self.buckets:
            np.cumsum(totals[cells], out=totals[cells])
        numbers = totals[self.slots] * self.units
        return (self.template % tuple(numbers.tolist())).encode()


def compose(metrics: Iterable[Metric], layouts: Iterable[Layout], left_out: Container[int] = ()) -> Exposition:
    """Compose the text of the metrics with their series in all layouts, except those whose slot is in `left_out`."""
    template = _Template()
    layouts = tuple(layouts)
    for metric in metrics:
        template.begin(metric)
        for series in (each for layout in layouts for each in layout.series.get(metric, ())):
            pairs = _pairs(metric.labels, series.values)
            if series.slot is None:
                template.add_one(metric, pairs)
            elif metric.kind == "histogram":
                template.add_histogram(metric, pairs, Histogram(series.slot, metric.bounds))
            elif series.slot not in left_out:
                template.add(metric.name, pairs, series.slot)
    return template.done()


class _Template:
    """Composes an exposition."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._slots: list[int] = []  # the slots of the numbers in the lines
        self._units: list[float] = []
        self._buckets: list[slice] = []

    def begin(self, metric: Metric) -> None:
        """Add the lines before the series of a metric."""
        self._lines.append(_literal(f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n"))

    def add(self, name: str, pairs: str, slot: int, unit: float = 1.0) -> None:
        """Add a line with the number of a slot."""
        self._lines.append(_literal(f"{name}{_braced(pairs)} ") + "%r\n")
        self._slots.append(slot)
        self._units.append(unit)

    def add_one(self, metric: Metric, pairs: str) -> None:
        """Add a line with the number 1."""
        self._lines.append(_literal(f"{metric.name}{_braced(pairs)} 1.0\n"))

    def add_histogram(self, metric: Metric, pairs: str, histogram: Histogram) -> None:
        """Add the lines of a histogram."""
        cells = histogram.cells
        for bound, slot in zip((*metric.bounds, math.inf), range(cells.start, cells.stop), strict=True):
            le = "+Inf" if bound == math.inf else f"{bound * metric.unit:.12g}"
            self.add(f"{metric.name}_bucket", f'{pairs},le="{le}"'.lstrip(","), slot)
        self.add(f"{metric.name}_count", pairs, cells.stop - 1)
        self.add(f"{metric.name}_sum", pairs, histogram.sum_slot, metric.unit)
        self._buckets.append(cells)

    def done(self) -> Exposition:
        """Return the exposition."""
        return Exposition("".join(self._lines), np.array(self._slots), np.array(self._units), self._buckets)


def _pairs(labels: tuple[str, ...], values: tuple[str, ...]) -> str:
    named = zip(labels, values, strict=True)
    return ",".join(f'{label}="{value.translate(_ESCAPES)}"' for label, value in named)


def _braced(pairs: str) -> str:
    return f"{{{pairs}}}" if pairs else ""


def _literal(text: str) -> str:
    """Escape text for the % operator."""
    return text.replace("%", "%%")
