"""The columns of the tables in a report, and how each is computed from a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loadtest.measurement.step import PERCENTILES, Step
from loadtest.reporting.page import NONE
from loadtest.traffic.requests import FORMS
from loadtest.units import callers, duration, number
from sentiment_conv1d.commands.page import Cell

#: The stages of a request in the service, with the colours of their bars.
STAGES = {"decode": 6, "queue": 3, "tokenize": 4, "infer": 1, "encode": 5}


def name(step: Step) -> str:
    """Return a short name of a step."""
    return f"{number(step.requested_rate)}/s" if step.loop == "open" else callers(step.callers)


def cores(step: Step) -> float | None:
    """Return the number of cores that the service uses: processor time per text times texts per second."""
    cost = step.cpu_per_text
    return None if cost is None else cost * step.texts_per_second


def rows(columns: Sequence[str], steps: Sequence[Step], last: Sequence[Cell] | None = None) -> list[list[Cell]]:
    """Return the cells of a table of steps. `last` is an additional column."""
    cells: list[list[Cell]] = [[_COLUMNS[column](step) for column in columns] for step in steps]
    return cells if last is None else [[*row, each] for row, each in zip(cells, last, strict=True)]


def _of_server(step: Step, name: str) -> Any:
    return (step.server or {}).get(name)


def _optional(value: Any, show: Callable[[Any], str]) -> str:
    return NONE if value is None else show(value)


def _latency(name: str) -> Callable[[Step], str]:
    return lambda step: _optional(step.latency.get(name), duration)


def _stage(name: str) -> Callable[[Step], str]:
    return lambda step: _optional(_of_server(step, "stages").get(name), duration)


def _lag(name: str) -> Callable[[Step], str]:
    return lambda step: duration(getattr(step.generator, name)) if step.loop == "open" else NONE


_COLUMNS: dict[str, Callable[[Step], str]] = {
    "Step": lambda step: str(step.title),
    "Load": name,
    "Protocol": lambda step: FORMS[step.traffic].title,
    "Requests/s": lambda step: number(step.requested_rate),
    "Callers": lambda step: str(step.callers),
    "answers/s": lambda step: number(round(step.throughput, 1)),
    "texts/s": lambda step: number(round(step.texts_per_second, 1)),
    **{each: _latency(each) for each in (*PERCENTILES, "max")},
    "failed": lambda step: f"{step.failed_share:.2%}" if step.failed else "0",
    **{each: _stage(each) for each in STAGES},
    "CPU per text": lambda step: _optional(step.cpu_per_text, duration),
    "cores": lambda step: _optional(cores(step), lambda value: f"{value:.2f}"),
    "memory": lambda step: _optional(_of_server(step, "memory_bytes"), lambda value: f"{value / 2**20:.0f} MiB"),
    "requests": lambda step: f"{step.requests:,}",
    "failures": lambda step: f"{step.failed:,}",
    "share": lambda step: f"{step.failed_share:.3%}",
    "processes": lambda step: str(step.generator.processes),
    "CPU": lambda step: f"{step.generator.cpu:.0%}",
    "generator's CPU": lambda step: f"{step.generator.busiest_cpu:.0%}{' !' if step.generator.bottleneck else ''}",
    "late by, p50": _lag("lag_p50"),
    "late by, p99": _lag("lag_p99"),
    "connections": lambda step: str(step.connections or NONE),
    "machine busy": lambda step: _optional(step.machine_busy, lambda value: f"{value:.0%}"),
    "other programs": lambda step: _optional(step.other_programs, lambda value: f"{value:.0%}"),
    "bottleneck": lambda step: "yes" if step.generator.bottleneck else "no",
}
