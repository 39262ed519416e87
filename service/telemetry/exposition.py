"""The Prometheus text format, composed once and filled with numbers at every scrape.

Names and labels make up most of the text and rarely change. Because a scrape formats only the numbers, thousands of
series block the event loop for one or two milliseconds instead of dozens. The format is version 0.0.4, see
https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.service.telemetry.layout import Histogram, Layout, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Exposition(NamedTuple):
    """The text without its numbers, and the slots of the numbers."""

    template: str  # for the % operator
    slots: npt.NDArray[np.int64]
    units: npt.NDArray[np.float64]
    buckets: list[slice]
    left_out: npt.NDArray[np.int64]  # slots that are zero, for which series are not in the text

    def fill_in(self, totals: npt.NDArray[np.float64]) -> bytes:
        """Fill in the numbers, float64 [slots], in which the slots of histograms are cumulative."""
        for cells in self.buckets:
            np.cumsum(totals[cells], out=totals[cells])
        numbers = totals[self.slots] * self.units
        return (self.template % tuple(numbers.tolist())).encode()


def compose(metrics: Iterable[Metric], layouts: Sequence[Layout], totals: npt.NDArray[np.float64]) -> Exposition:
    """Compose the text of the metrics with their series in all layouts. `totals` say which of them are exposed."""
    lines: list[str] = []
    slots: list[int] = []  # of the numbers in the lines
    units: list[float] = []
    buckets: list[slice] = []
    left_out: set[int] = set()
    for metric in metrics:
        lines.append(_literal(f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n"))
        for series in (each for layout in layouts for each in layout.series.get(metric, ())):
            named = zip(metric.labels, series.values, strict=True)
            pairs = [f'{label}="{value.translate(_ESCAPES)}"' for label, value in named]
            if series.slot is None:
                lines.append(_literal(f"{metric.name}{_braced(pairs)} {series.constant!r}\n"))
            elif series.after is not None and not totals[series.after]:
                left_out.add(series.after)
            else:
                for name, slot, unit in _numbers(metric, pairs, series.slot):
                    lines.append(_literal(name) + " %r\n")
                    slots.append(slot)
                    units.append(unit)
                if metric.kind == "histogram":
                    buckets.append(Histogram(series.slot, metric.bounds).cells)
    return Exposition(
        "".join(lines), np.array(slots, np.int64), np.array(units), buckets, np.array(sorted(left_out), np.int64)
    )


def _numbers(metric: Metric, pairs: Sequence[str], slot: int) -> Iterator[tuple[str, int, float]]:
    """Yield the name with the labels of every line of a series, and the slot and the unit of its number."""
    labels = _braced(pairs)
    if metric.kind != "histogram":
        yield metric.name + labels, slot, metric.unit
        return
    histogram = Histogram(slot, metric.bounds)
    cells = histogram.cells
    bounds = (*(f"{bound * metric.unit:.12g}" for bound in metric.bounds), "+Inf")
    for bound, cell in zip(bounds, range(cells.start, cells.stop), strict=True):
        yield f"{metric.name}_bucket" + _braced((*pairs, f'le="{bound}"')), cell, 1.0
    yield f"{metric.name}_count{labels}", cells.stop - 1, 1.0
    yield f"{metric.name}_sum{labels}", histogram.sum_slot, metric.unit


def _braced(pairs: Sequence[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _literal(text: str) -> str:
    """Escape text for the % operator."""
    return text.replace("%", "%%")
