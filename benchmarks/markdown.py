"""The output of the benchmarks: Markdown in the form of the pages of `docs/`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import date
from statistics import median

from loadtest.measurement import machine

_VERSIONS = ("Python", "onnxruntime", "onnxruntime-gpu", "numpy")


def show(step: str) -> None:
    """Show in a terminal what is measured, in place of the step before."""
    if sys.stderr.isatty():
        print(f"\r{step:100}\r", end="", file=sys.stderr, flush=True)


def circumstances() -> str:
    """Return the machine and the versions of the libraries."""
    described, versions = machine.describe(), machine.versions()
    libraries = ", ".join(f"{name} {versions[name]}" for name in _VERSIONS if name in versions)
    return (
        f"{date.today():%Y-%m-%d}: {described['processor']}, {described['cores']} cores, {described['memory']}, "
        f"{described['system']}; {libraries}."
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in GitHub's Markdown."""
    lines = ("".join(f"| {cell} " if cell else "| " for cell in row) + "|" for row in (head, *rows))
    first, *others = lines
    return "\n".join([first, "|---" * len(head) + "|", *others])


def number(value: float) -> str:
    """Format with two significant digits, or all digits of the integer part."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def spread(values: Iterable[float]) -> str:
    """Format the median of several rounds, and their range."""
    each = list(values)
    return f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})"
