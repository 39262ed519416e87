"""What the benchmarks print: Markdown, in the form in which the pages of `docs/` hold it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from statistics import median

from loadtest.measurement import machine

_VERSIONS = ("Python", "onnxruntime", "onnxruntime-gpu", "numpy")


def circumstances() -> str:
    """The machine and the libraries, without which no number says anything."""
    described, versions = machine.describe(), machine.versions()
    libraries = ", ".join(f"{name} {versions[name]}" for name in _VERSIONS if name in versions)
    return (
        f"{date.today():%Y-%m-%d}: {described['processor']}, {described['cores']} cores, {described['memory']}, "
        f"{described['system']}; {libraries}."
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of GitHub's Markdown."""
    lines = ("".join(f"| {cell} " if cell else "| " for cell in row) + "|" for row in (head, *rows))
    first, *others = lines
    return "\n".join([first, "|---" * len(head) + "|", *others])


def number(value: float) -> str:
    """With two digits, or all of those in front of the point."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def spread(values: Iterable[float]) -> str:
    """The median of several rounds, and their range."""
    each = list(values)
    return f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})"
