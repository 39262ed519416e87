"""Formats numbers and units for people."""

from __future__ import annotations


def number(value: float) -> str:
    """Format with three significant digits, or all digits of the integer part."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Format seconds, as milliseconds if below one second, with about three digits."""
    if seconds >= 1:
        return f"{seconds:,.2f} s"
    value = seconds * 1e3
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} ms"


def callers(count: int | None) -> str:
    """Format the number of callers of a closed loop."""
    return f"{count} caller{'' if count == 1 else 's'}"


def rate(value: float) -> str:
    """Format requests per second."""
    return f"{number(round(value, 1))} requests/s"
