"""What a run of `benchmarks.other_servers` says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import save_bars
from benchmarks.rest import Load
from benchmarks.serving import NAIVE, SERVICE


@dataclass
class Measured:
    """Every round of one server."""

    loads: dict[str, list[Load]] = field(default_factory=dict)  # by kind of text
    memory: list[float] = field(default_factory=list)  # MB of all processes, after the load
    ready: list[float] = field(default_factory=list)  # seconds from the start of the process to the first answer


def table(measured: Mapping[str, Measured], absent: Mapping[str, str]) -> Iterator[str]:
    """Medians of all rounds, the medians of the ratios in each round, and why the rest was not measured."""
    yield (
        f"{'':10} {'texts':6} {'requests/s':>10} {'/ naive':>8} {'/ service':>9} {'p50 ms':>7} {'p99 ms':>7} "
        f"{'CPU us':>7} {'MB':>6} {'ready s':>7} {'errors':>6}"
    )
    for title, each in measured.items():
        for kind, loads in each.loads.items():
            rate, p50, p99, cpu = (median(values) for values in list(zip(*loads, strict=True))[:4])
            to_naive, to_service = (_ratio(loads, measured[other].loads[kind]) for other in (NAIVE, SERVICE))
            errors = sum(load.errors for load in loads)
            yield (
                f"{title:10} {kind:6} {rate:10.0f} {to_naive:8.2f} {to_service:9.3f} {p50 * 1e3:7.1f} {p99 * 1e3:7.1f} "
                f"{cpu * 1e6:7.0f} {median(each.memory):6.0f} {median(each.ready):7.1f} {errors:6}"
            )
    for title, reason in absent.items():
        yield f"{title:10} {reason}"


def _ratio(loads: list[Load], others: list[Load]) -> float:
    return median(load.rate / other.rate for load, other in zip(loads, others, strict=True))


def document(measured: Mapping[str, Measured], absent: Mapping[str, str], about: Mapping[str, Any]) -> str:
    """Everything, as JSON."""
    servers = {
        title: {
            "loads": {kind: [load._asdict() for load in loads] for kind, loads in each.loads.items()},
            "memory": each.memory,
            "ready": each.ready,
        }
        for title, each in measured.items()
    }
    return json.dumps({**about, "measured": servers, "not measured": absent}, indent=1) + "\n"


def save_plot(measured: Mapping[str, Measured], path: Path) -> None:
    """Requests a second and processor time a request, as bars: the medians."""
    kinds = next(iter(measured.values())).loads
    save_bars({f"{title}, {kind}": each.loads[kind] for kind in kinds for title, each in measured.items()}, path)
