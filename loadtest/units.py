"""Numbers in words, as short as they can be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


def number(value: float) -> str:
    """With three digits, or more where there are more in front of the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """In milliseconds below a second, with three digits or so."""
    if seconds >= 1:
        return f"{seconds:,.2f} s"
    value = seconds * 1e3
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} ms"


def rate(value: float) -> str:
    """Requests a second."""
    return f"{number(round(value, 1))} requests/s"


def _round_duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{round(seconds * 1e3, 6):g} ms"


class Unit(NamedTuple):
    """How values are written, and how the round numbers along an axis."""

    show: Callable[[float], str]
    tick: Callable[[float], str]


COUNT = Unit(number, number)
SECONDS = Unit(duration, _round_duration)
