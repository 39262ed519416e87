"""Plots as SVG that stands in the page: no script, colours of the page, values under the pointer or the finger."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from loadtest.units import COUNT, Unit, number

_WIDTH, _HEIGHT = 480, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 26, 42
_INNER_WIDTH, _INNER_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_LINE = 15  # pixels from one line of text to the next
_CHARACTER = 7  # mean pixels of one


class Series(NamedTuple):
    """Values at the plot's places; None where there is none. `colour` is a number of the page's palette."""

    name: str
    colour: int
    values: Sequence[float | None]


class Mark(NamedTuple):
    """A line across the plot, at a place or at a value, with a word beside it."""

    at: float
    text: str
    colour: int


class _Scale:
    """From numbers to pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float, *, log: bool) -> None:
        self._log = log
        low, high = (min(values), max(values)) if values else (1.0, 1.0)
        if log:
            self.ticks = _log_ticks(low, high)
        else:
            self.ticks = _ticks(high)
        self._low = min(self.ticks[0], low) if log else 0.0
        self._high = max(self.ticks[-1], high)
        self._start, self._length = start, end - start  # pixels

    def __call__(self, value: float) -> float:
        if not self._log:
            return self._start + self._length * value / self._high
        return self._start + self._length * math.log(value / self._low) / math.log(self._high / self._low)


def lines(
    title: str,
    places: Sequence[float],
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    unit: Unit,
    log_x: bool = False,
    log_y: bool = False,
    at: Sequence[Mark] = (),
    limits: Sequence[Mark] = (),
) -> str:
    """A line a series over common places; `unit` puts a value into words."""
    values = [value for each in series for value in each.values if value is not None and (value > 0 or not log_y)]
    if not places or not values:
        return ""
    across = _Scale([*places, *(mark.at for mark in at)], _LEFT, _LEFT + _INNER_WIDTH, log=log_x)
    up = _Scale([*values, *(mark.at for mark in limits)], _TOP + _INNER_HEIGHT, _TOP, log=log_y)
    ticks = list(dict.fromkeys(places)) if log_x else across.ticks
    parts = [_grid(across, ticks, up, x, y, across_unit=COUNT, up_unit=unit)]
    parts += [_vertical(across(mark.at), mark) for mark in at]
    parts += [_horizontal(up(mark.at), mark) for mark in limits]
    for each in series:
        points = [
            (across(place), up(value))
            for place, value in zip(places, each.values, strict=True)
            if value is not None and (value > 0 or not log_y)
        ]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
        parts.append(f'<polyline class="line c{each.colour}" points="{path}"/>')
        parts += [f'<circle class="dot c{each.colour}" cx="{left:.1f}" cy="{top:.1f}" r="3"/>' for left, top in points]
    parts += _hover(
        [across(place) for place in places],
        [
            [
                (f"{number(place)} {x}", 0),
                *(
                    (f"{each.name}: {unit.show(value)}", each.colour)
                    for each in series
                    if (value := each.values[index]) is not None
                ),
            ]
            for index, place in enumerate(places)
        ],
    )
    return _svg(title, parts, legend=[(each.name, each.colour) for each in series])


def bars(
    title: str,
    edges: Sequence[tuple[float, float]],
    counts: Sequence[float],
    *,
    x: str,
    y: str,
    unit: Unit,
    at: Sequence[Mark] = (),
) -> str:
    """A histogram over a logarithmic axis; `unit` puts a place into words."""
    if not counts:
        return ""
    across = _Scale([edges[0][0], edges[-1][1]], _LEFT, _LEFT + _INNER_WIDTH, log=True)
    up = _Scale(counts, _TOP + _INNER_HEIGHT, _TOP, log=False)
    parts = [_grid(across, across.ticks, up, x, y, across_unit=unit, up_unit=COUNT)]
    bottom = _TOP + _INNER_HEIGHT
    for (low, high), count in zip(edges, counts, strict=True):
        if count:
            left, right, top = across(low), across(high), min(up(count), bottom - 1)
            parts.append(
                f'<rect class="bar c1" x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 0.6, 0.6):.1f}" '
                f'height="{bottom - top:.1f}"/>'
            )
    parts += [_vertical(across(mark.at), mark) for mark in at]
    total = sum(counts)
    parts += _hover(
        [(across(low) + across(high)) / 2 for low, high in edges],
        [
            [(f"{unit.show(low)} to {unit.show(high)}", 0), (f"{count:,.0f} requests, {count / total:.1%}", 1)]
            for (low, high), count in zip(edges, counts, strict=True)
        ],
    )
    return _svg(title, parts)


def stacks(
    title: str,
    names: Sequence[str],
    series: Sequence[Series],
    *,
    x: str,
    unit: Unit,
) -> str:
    """Bars from the left, one a name, each of the values of all series."""
    totals = [sum(each.values[index] or 0.0 for each in series) for index in range(len(names))]
    if not names or not max(totals):
        return ""
    left = 20 + _CHARACTER * max(map(len, names))
    row, first = 26, 6
    height = first + row * len(names) + _BOTTOM
    across = _Scale(totals, left, _WIDTH - _RIGHT - 30, log=False)
    bottom = height - _BOTTOM
    parts = []
    for tick in across.ticks:
        parts.append(_line("grid", across(tick), first, across(tick), bottom))
        parts.append(_text(across(tick), bottom + _LINE, unit.tick(tick), "middle"))
    for index, name in enumerate(names):
        top = first + row * index
        parts.append(_text(left - 6, top + row / 2 + 4, name, "end"))
        start = 0.0
        words = [f"{name}: {unit.show(totals[index])}"]
        for each in series:
            value = each.values[index] or 0.0
            begin, end = across(start), across(start + value)
            parts.append(
                f'<rect class="bar c{each.colour}" x="{begin:.1f}" y="{top + 4:.1f}" width="{end - begin:.1f}" '
                f'height="{row - 8}"/>'
            )
            words.append(f"{each.name} {unit.show(value)}")
            start += value
        parts.append(
            f'<rect class="catch" x="0" y="{top}" width="{_WIDTH}" height="{row}"><title>{escape(chr(10).join(words))}'
            "</title></rect>"
        )
    parts.append(_text((left + _WIDTH) / 2, height - 6, x, "middle"))
    return _svg(title, parts, height=height, legend=[(each.name, each.colour) for each in series])


def _svg(title: str, parts: Sequence[str], height: float = _HEIGHT, legend: Sequence[tuple[str, int]] = ()) -> str:
    body = "\n".join(parts)
    keys = "".join(f'<li><i class="c{colour}"></i>{escape(name)}</li>' for name, colour in legend)
    return (
        f'<ul class="legend">{keys}</ul>\n' if len(legend) > 1 else ""
    ) + f'<svg class="plot" viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(title)}">\n{body}\n</svg>'


def _grid(
    across: _Scale,
    places: Sequence[float],
    up: _Scale,
    x: str,
    y: str,
    *,
    across_unit: Unit,
    up_unit: Unit,
) -> str:
    bottom, right = _TOP + _INNER_HEIGHT, _LEFT + _INNER_WIDTH
    parts = []
    for tick in up.ticks:
        parts.append(_line("grid", _LEFT, up(tick), right, up(tick)))
        parts.append(_text(_LEFT - 6, up(tick) + 4, up_unit.tick(tick), "end"))
    taken = -math.inf
    for place in places:
        label = across_unit.tick(place)
        half = len(label) * _CHARACTER / 2
        if across(place) - half < taken + 4:
            continue
        taken = across(place) + half
        parts.append(_line("grid", across(place), _TOP, across(place), bottom))
        parts.append(_text(min(across(place), _WIDTH - half), bottom + _LINE, label, "middle"))
    parts.append(_line("axis", _LEFT, bottom, right, bottom))
    parts.append(_text(_LEFT + _INNER_WIDTH / 2, _HEIGHT - 6, x, "middle"))
    parts.append(_text(0, 10, y, "start"))
    return "\n".join(parts)


def _vertical(left: float, mark: Mark) -> str:
    width = len(mark.text) * _CHARACTER
    # Beside the line, on the side where there is room.
    anchor, x = ("end", left - 4) if left + width + 4 > _WIDTH - _RIGHT else ("start", left + 4)
    return _line(f"mark c{mark.colour}", left, _TOP, left, _TOP + _INNER_HEIGHT) + _text(
        x, _TOP + 10, mark.text, anchor, f"word c{mark.colour}"
    )


def _horizontal(top: float, mark: Mark) -> str:
    return _line(f"mark c{mark.colour}", _LEFT, top, _LEFT + _INNER_WIDTH, top) + _text(
        _LEFT + 6, top - 4, mark.text, "start", f"word c{mark.colour}"
    )


def _hover(lefts: Sequence[float], texts: Sequence[Sequence[tuple[str, int]]]) -> list[str]:
    """For every place a strip that shows a line and a box of values while the pointer is on it."""
    parts = []
    for index, (left, words) in enumerate(zip(lefts, texts, strict=True)):
        begin = _LEFT if index == 0 else (lefts[index - 1] + left) / 2
        end = _LEFT + _INNER_WIDTH if index == len(lefts) - 1 else (left + lefts[index + 1]) / 2
        width = 16 + _CHARACTER * max(len(text) for text, _ in words)
        box = left + 8 if left + 8 + width < _WIDTH else max(left - 8 - width, 0)
        rows = "".join(
            _text(box + 8, _TOP + 8 + _LINE * (row + 1), text, "start", f"word c{colour}" if colour else "word")
            for row, (text, colour) in enumerate(words)
        )
        parts.append(
            f'<g class="at"><rect class="catch" x="{begin:.1f}" y="{_TOP}" width="{max(end - begin, 0):.1f}" '
            f'height="{_INNER_HEIGHT}"/><g class="tip">{_line("cross", left, _TOP, left, _TOP + _INNER_HEIGHT)}'
            f'<rect class="box" x="{box:.1f}" y="{_TOP + 4}" width="{width:.1f}" height="{14 + _LINE * len(words)}" '
            f'rx="4"/>{rows}</g></g>'
        )
    return parts


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    given = f' class="{kind}"' if kind else ""
    return f'<text{given} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _ticks(high: float) -> list[float]:
    """From zero to the first round number that is not below `high`, in about five steps."""
    if high <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(high / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor * 5 >= high)
    return [step * count for count in range(math.ceil(high / step - 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten around both, with 2 and 5 between them where there are few; two at least."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    below = max((tick for tick in ticks if tick <= low * 1.0001), default=ticks[0])
    above = min((tick for tick in ticks if tick >= high * 0.9999 and tick > below), default=ticks[-1])
    return [tick for tick in ticks if below <= tick <= above]
