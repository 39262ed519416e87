"""The results of `benchmarks.other_servers`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.markdown import number, table
from benchmarks.rest import Load
from benchmarks.serving.report import save_bars


@dataclass
class Measurements:
    """Every round of one server."""

    loads: dict[str, list[Load]] = field(default_factory=dict)  # by kind of text
    memory: list[float] = field(default_factory=list)  # MB of all processes, after the load
    ready: list[float] = field(default_factory=list)  # seconds from the start of the process to the first answer


def summary(measured: Mapping[str, Measurements], absent: Mapping[str, str]) -> Iterator[str]:
    """Return the table of medians, the errors of servers that had some, and why others were not measured."""
    kinds = next(iter(measured.values())).loads
    head = [""]
    for kind in kinds:
        head += [f"requests/s, {kind}", "p99 ms", "CPU µs"]
    rows = []
    for title, each in measured.items():
        row = [title]
        for loads in each.loads.values():
            rate, _, p99, cpu = (median(values) for values in list(zip(*loads, strict=True))[:4])
            row += [f"{rate:,.0f}", number(p99 * 1e3), f"{cpu * 1e6:,.0f}"]
        rows.append([*row, f"{median(each.memory):,.0f}", f"{median(each.ready):.1f}"])
    yield table([*head, "memory MB", "ready s"], rows)
    for title, each in measured.items():
        if errors := sum(load.errors for loads in each.loads.values() for load in loads):
            yield f"{title}: {errors} errors"
    yield from (f"{title}: {reason}" for title, reason in absent.items())


def document(measured: Mapping[str, Measurements], absent: Mapping[str, str], about: Mapping[str, Any]) -> str:
    """Return all measurements as JSON."""
    servers = {
        title: {
            "loads": {kind: [load._asdict() for load in loads] for kind, loads in each.loads.items()},
            "memory": each.memory,
            "ready": each.ready,
        }
        for title, each in measured.items()
    }
    return json.dumps({**about, "measured": servers, "not measured": absent}, indent=1) + "\n"


def save_plot(measured: Mapping[str, Measurements], path: Path) -> None:
    """Plot the medians of the rate and of the processor time per request as bars."""
    kinds = next(iter(measured.values())).loads
    save_bars({f"{title}, {kind}": each.loads[kind] for kind in kinds for title, each in measured.items()}, path)
