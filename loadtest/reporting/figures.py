"""The plots of a report, drawn from its document. A plot without values is an empty string."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.measurement.objective import parse
from loadtest.measurement.step import Step
from loadtest.reporting.columns import STAGES, cores, name
from loadtest.reporting.plots import Mark, Series, bars, lines, stacks

#: The percentiles in the plots, with the colours of their lines.
SHOWN = {"p50": 2, "p90": 1, "p99": 3, "p99.9": 5}

_KNEE, _LIMIT = 4, 6  # colours


def latency_by_rate(document: Mapping[str, Any]) -> str:
    """Plot percentiles of the open loop, with the knee and the bounds of the objective."""
    steps = _answered(document["open"])
    conditions = parse(document["objective"]["text"]).conditions if document["objective"] else ()
    return lines(
        "Latency percentiles against rate",
        [step.requested_rate for step in steps],
        _percentiles(steps, SHOWN),
        x="requests per second",
        y="latency",
        unit="s",
        log_y=True,
        at=_knee(document),
        limits=[Mark(each.bound, each.text, _LIMIT) for each in conditions if each.name != "errors"],
    )


def answers_by_rate(document: Mapping[str, Any]) -> str:
    """Plot the throughput of the open loop and the requested rate."""
    steps = _answered(document["open"])
    rates = [step.requested_rate for step in steps]
    answered = Series("answered", 1, [step.throughput for step in steps])
    return lines(
        "Answers against rate",
        rates,
        [Series("requested", 6, rates), answered],
        x="requests per second",
        y="answers per second",
        at=_knee(document),
    )


def histogram(step: Step) -> str:
    """Plot the latencies of a step."""
    return bars(
        "Latency histogram",
        [(bucket["from"], bucket["to"]) for bucket in step.histogram],
        [bucket["count"] for bucket in step.histogram],
        x="latency",
        y="requests",
        unit="s",
        at=[Mark(step.latency[name], name, SHOWN[name]) for name in ("p50", "p99")],
    )


def throughput_by_callers(document: Mapping[str, Any]) -> str:
    """Plot the throughput of the closed loop."""
    steps = _answered(document["closed"])
    series = [Series("throughput", 1, [step.throughput for step in steps])]
    callers = [float(step.callers or 0) for step in steps]
    return lines(
        "Throughput against concurrency",
        callers,
        series,
        x="concurrent callers",
        y="answers per second",
        log_x=True,
    )


def latency_by_callers(document: Mapping[str, Any]) -> str:
    """Plot percentiles of the closed loop."""
    steps = _answered(document["closed"])
    return lines(
        "Latency against concurrency",
        [float(step.callers or 0) for step in steps],
        _percentiles(steps, ("p50", "p99")),
        x="concurrent callers",
        y="latency",
        unit="s",
        log_x=True,
        log_y=True,
    )


def stages(steps: Sequence[Step]) -> str:
    """Plot the mean time of a request in each stage of the service."""
    series = [
        Series(stage, colour, [(step.server or {})["stages"].get(stage) for step in steps])
        for stage, colour in STAGES.items()
    ]
    names = [name(step) for step in steps]
    return stacks("Time of the stages", names, series, x="mean time of a request in the service", unit="s")


def processors(steps: Sequence[Step]) -> str:
    """Plot the cores that the service and the generator use."""
    series = [
        Series("service", 1, [cores(step) for step in steps]),
        Series("generator", 6, [step.generator.cpu for step in steps]),
    ]
    return stacks("Processors", [name(step) for step in steps], series, x="cores busy")


def protocols(steps: Sequence[Step]) -> str:
    """Plot the texts per second of each protocol."""
    series = [Series("texts/s", 1, [step.texts_per_second for step in steps])]
    names = [step.traffic for step in steps]
    return stacks("Texts per second by protocol", names, series, x="texts per second")


def _answered(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.latency]


def _percentiles(steps: Sequence[Step], names: Sequence[str] | Mapping[str, int]) -> list[Series]:
    return [Series(each, SHOWN[each], [step.latency[each] for step in steps]) for each in names]


def _knee(document: Mapping[str, Any]) -> list[Mark]:
    return [Mark(document["knee"].requested_rate, "knee", _KNEE)] if document["knee"] else []
