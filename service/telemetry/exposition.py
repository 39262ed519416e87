"""Prometheus' text format, laid out once and filled in with numbers whenever somebody asks.

Names and labels are nearly all of the text and hardly ever change. Where only the numbers are written anew, thousands
of series hold up the event loop for a millisecond or two and not for dozens. The format is version 0.0.4, see
https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.service.telemetry.histogram import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Layout:
    """The series in their order: a name is begun with `family`, then its series are added."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._slots: list[int] = []  # of the numbers in the lines
        self._units: list[float] = []
        self._buckets: list[slice] = []
        self._name = ""
        self._labels: tuple[str, ...] = ()

    def family(self, name: str, kind: Kind, meaning: str, labels: tuple[str, ...] = ()) -> None:
        """Begin the series of a name, which have these labels."""
        self._name, self._labels = name, labels
        self._lines.append(_literal(f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"))

    def add(self, values: tuple[str, ...], slot: int) -> None:
        """A series with these values of its labels; its number is that of a slot of the counters."""
        self._add("", self._pairs(values), slot)

    def add_one(self, values: tuple[str, ...]) -> None:
        """A series that is 1 because it is there."""
        self._lines.append(_literal(f"{self._name}{_braced(self._pairs(values))} 1.0\n"))

    def add_histogram(self, values: tuple[str, ...], histogram: Histogram, unit: float = 1.0) -> None:
        """A histogram with these values of its labels; its bounds and its sum are multiples of `unit`."""
        pairs, cells = self._pairs(values), histogram.cells
        for bound, slot in zip((*histogram.bounds, math.inf), range(cells.start, cells.stop), strict=True):
            le = "+Inf" if bound == math.inf else f"{bound * unit:.12g}"
            self._add("_bucket", f'{pairs},le="{le}"'.lstrip(","), slot)
        self._add("_count", pairs, cells.stop - 1)
        self._add("_sum", pairs, histogram.sum_slot, unit)
        self._buckets.append(cells)

    def done(self) -> Exposition:
        """What can be filled in."""
        return Exposition("".join(self._lines), np.array(self._slots), np.array(self._units), self._buckets)

    def _add(self, suffix: str, pairs: str, slot: int, unit: float = 1.0) -> None:
        self._lines.append(_literal(f"{self._name}{suffix}{_braced(pairs)} ") + "%r\n")
        self._slots.append(slot)
        self._units.append(unit)

    def _pairs(self, values: tuple[str, ...]) -> str:
        named = zip(self._labels, values, strict=True)
        return ",".join(f'{label}="{value.translate(_ESCAPES)}"' for label, value in named)


class Exposition(NamedTuple):
    """The text without its numbers, and where they come from."""

    template: str  # for the % operator
    slots: npt.NDArray[np.int64]
    units: npt.NDArray[np.float64]
    buckets: list[slice]

    def fill_in(self, totals: npt.NDArray[np.float64]) -> bytes:
        """The text with the numbers of the slots, float64 [slots], in which those of histograms are cumulated."""
        for cells in self.buckets:
            np.cumsum(totals[cells], out=totals[cells])
        numbers = totals[self.slots] * self.units
        return (self.template % tuple(numbers.tolist())).encode()


def _braced(pairs: str) -> str:
    return f"{{{pairs}}}" if pairs else ""


def _literal(text: str) -> str:
    """What stands for this text in a template."""
    return text.replace("%", "%%")
