"""Plots as inline SVG, drawn by Matplotlib in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from io import StringIO
from typing import Any, Literal, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, StrMethodFormatter

#: The colours that Matplotlib draws with, and the variables of `page.css` that replace them.
_MUTED, _LINE = "#5b626c", "#d9dce1"
_SERIES = ("#0072b2", "#56a5d8", "#d55e00", "#009e73", "#b0609a", "#8a8f98")
_VARIABLES = {_MUTED: "muted", _LINE: "line", **{colour: f"c{place}" for place, colour in enumerate(_SERIES, 1)}}

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 12,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _MUTED),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "axes.spines.left", "ytick.left"), False),
    **dict.fromkeys(("axes.xmargin", "axes.ymargin"), 0),
    "axes.autolimit_mode": "round_numbers",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _LINE,
}


class Series(NamedTuple):
    """One value, or None, for every place of the plot. `colour` is the number of a colour of the page."""

    name: str
    colour: int
    values: Sequence[float | None]


class Mark(NamedTuple):
    """A labelled line across the plot, at a place or at a value."""

    at: float
    text: str
    colour: int


@rc_context(_STYLE)
def lines(
    title: str,
    places: Sequence[float],
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    unit: str = "",
    log_x: bool = False,
    log_y: bool = False,
    at: Sequence[Mark] = (),
    limits: Sequence[Mark] = (),
) -> str:
    """Return a line for each series over common places. `unit` is that of the values, such as `s`."""
    if not places or not any(value for each in series for value in each.values):
        return ""
    figure, axes = _axes(x, y)
    for each in series:
        values = [math.nan if value is None or (log_y and value == 0) else value for value in each.values]
        axes.plot(places, values, "o-", color=_SERIES[each.colour - 1], label=each.name, markersize=6, clip_on=False)
    _mark(axes, at, limits)
    _scale(axes, "x", "", log=log_x)
    _scale(axes, "y", unit, log=log_y)
    if log_x:
        axes.set_xticks(places)
    return _svg(figure, title, len(series))


@rc_context(_STYLE)
def bars(
    title: str,
    edges: Sequence[tuple[float, float]],
    counts: Sequence[float],
    *,
    x: str,
    y: str,
    unit: str,
    at: Sequence[Mark] = (),
) -> str:
    """Return a histogram over a logarithmic axis with this unit."""
    if not counts:
        return ""
    figure, axes = _axes(x, y)
    axes.stairs(counts, [edges[0][0], *(high for _, high in edges)], fill=True, color=_SERIES[0])
    _mark(axes, at, ())
    _scale(axes, "x", unit, log=True)
    _scale(axes, "y", "", log=False)
    return _svg(figure, title, 1)


@rc_context(_STYLE)
def stacks(title: str, names: Sequence[str], series: Sequence[Series], *, x: str, unit: str = "") -> str:
    """Return a horizontal bar for each name, made of the values of all series."""
    totals = [0.0] * len(names)
    if not any(value for each in series for value in each.values):
        return ""
    figure, axes = _axes(x, "", height=0.37 * len(names) + 1)
    for each in series:
        values = [value or 0.0 for value in each.values]
        axes.barh(range(len(names)), values, 0.7, totals, color=_SERIES[each.colour - 1], label=each.name)
        totals = [total + value for total, value in zip(totals, values, strict=True)]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    _scale(axes, "x", unit, log=False)
    return _svg(figure, title, len(series))


def _axes(x: str, y: str, height: float = 300 / 72) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(480 / 72, height), layout="constrained")  # an inch of SVG has 72 units
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_title(y, loc="left", fontsize=12)
    return figure, axes


def _scale(axes: Axes, axis: Literal["x", "y"], unit: str, *, log: bool) -> None:
    scaled = {"x": axes.xaxis, "y": axes.yaxis}[axis]
    if log:
        axes.set(**{f"{axis}scale": "log"})
        low, high = scaled.get_view_interval()
        scaled.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low <= 10 else (1,)))
    else:
        axes.set(**{f"{axis}lim": (0, None)})
        scaled.set_major_locator(MaxNLocator(5))
    axes.minorticks_off()
    scaled.set_major_formatter(EngFormatter(unit) if unit else StrMethodFormatter("{x:,.10g}"))


def _mark(axes: Axes, at: Sequence[Mark], limits: Sequence[Mark]) -> None:
    for mark in at:
        colour = _SERIES[mark.colour - 1]
        axes.axvline(mark.at, color=colour, linestyle="--")
        axes.annotate(mark.text, (mark.at, 1), (4, -10), axes.get_xaxis_transform(), "offset points", color=colour)
    for mark in limits:
        colour = _SERIES[mark.colour - 1]
        axes.axhline(mark.at, color=colour, linestyle="--")
        axes.annotate(mark.text, (0, mark.at), (6, 4), axes.get_yaxis_transform(), "offset points", color=colour)


def _svg(figure: Figure, title: str, series: int) -> str:
    if series > 1:
        figure.legend(loc="outside upper left", ncols=series, frameon=False)
    written = StringIO()
    figure.savefig(
        written, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    svg = written.getvalue().partition("<svg")[2]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return f'<svg class="plot" role="img" aria-label="{escape(title)}"{svg}'
