"""The results of `benchmarks.serving`: tables of medians, ratios and sizes, and a plot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.markdown import number, spread, table
from benchmarks.rest import Load
from benchmarks.serving import inside
from benchmarks.serving.cases import (
    ALONE,
    CPP,
    DISTURBED,
    FASTAPI,
    GENERAL,
    HOSTED,
    NODE,
    QUANTIZED,
    SERVICE,
    SHORT,
    WHOLE,
    Case,
)

#: The other applications.
_APPLICATIONS = (CPP, NODE, FASTAPI)

#: The connections at which they are compared.
_CONNECTIONS = 32


@dataclass
class Measurements:
    """The measurements of all rounds."""

    loads: dict[Case, list[Load]]
    stages: dict[str, dict[str, list[float]]]  # by kind of text and name: seconds per text
    memory: list[float] = field(default_factory=list)  # MB of the supervisor and of each worker
    ready: list[float] = field(default_factory=list)  # seconds from the start of the process


#: Returns a number of each round for the texts of a kind.
Rounds = Callable[[Measurements, str], Sequence[float]]


def _of_load(attribute: str, server: str = SERVICE, protocol: str = "REST", connections: int = _CONNECTIONS) -> Rounds:
    return lambda measured, kind: [
        getattr(load, attribute) for load in measured.loads[Case(server, protocol, kind, connections)]
    ]


def _of_stage(name: str) -> Rounds:
    return lambda measured, kind: measured.stages[kind][name]


_BOTH = (WHOLE, SHORT)

#: The ratios: their names, what is divided by what, and the kinds of texts for which it is measured.
_RATIOS: tuple[tuple[str, Rounds, Rounds, tuple[str, ...]], ...] = (
    ("CPU per request: service in uvicorn / service", _of_load("cpu", HOSTED), _of_load("cpu"), _BOTH),
    ("CPU per request: 8 bits / float32", _of_load("cpu", QUANTIZED), _of_load("cpu"), _BOTH),
    (
        "in process, one thread: ours / FastAPI",
        _of_stage(inside.PREDICT),
        _of_stage(inside.COMPETENT),
        _BOTH,
    ),
    (
        "in process, one thread: 8 bits / float32",
        _of_stage(inside.QUANTIZED),
        _of_stage(inside.PREDICT),
        _BOTH,
    ),
    (
        "in process, one thread, 32 at a time: 8 bits / float32",
        _of_stage(inside.QUANTIZED_32),
        _of_stage(inside.PREDICT_32),
        _BOTH,
    ),
    (
        f"p99 at 64 connections: service / {FASTAPI}",
        _of_load("p99", connections=64),
        _of_load("p99", FASTAPI, connections=64),
        (WHOLE,),
    ),
    (
        "CPU per text of REST batches of 32: 8 bits / float32",
        _of_load("cpu", QUANTIZED, "REST batches of 32", 8),
        _of_load("cpu", SERVICE, "REST batches of 32", 8),
        (WHOLE,),
    ),
    *(
        (
            f"in process on every processor, 32 at a time / CPU per text of {protocol}",
            _of_stage(inside.AMONG_32),
            _of_load("cpu", SERVICE, protocol, 8),
            (WHOLE,),
        )
        for protocol in ("REST batches of 32", "gRPC batches of 32", "gRPC stream")
    ),
    (
        "CPU per request: service at 32 connections / one worker at 16",
        _of_load("cpu"),
        _of_load("cpu", ALONE, connections=16),
        (WHOLE,),
    ),
    (
        "in process: one text in a process for every processor / alone",
        _of_stage(inside.AMONG),
        _of_stage(inside.PREDICT),
        (WHOLE,),
    ),
    (
        "p99 of short requests beside batches of 256 / without",
        _of_load("p99", SERVICE, DISTURBED, 4),
        _of_load("p99", connections=4),
        (SHORT,),
    ),
)


def tables(measured: Measurements) -> Iterator[str]:
    """Yield every table as Markdown."""
    yield _lead(measured)
    yield _comparison(measured)
    yield _loads(measured)
    yield _stages(measured)
    yield _ratios(measured)
    yield _sizes(measured)


def _compared(measured: Measurements) -> list[str]:
    """Return the other applications that were measured."""
    return [name for name in _APPLICATIONS if Case(name, "REST", WHOLE, 32) in measured.loads]


def _lead(measured: Measurements) -> str:
    """Return the table of the README: this service and the other applications, at 32 connections."""
    head = [f"REST, {_CONNECTIONS} connections"]
    for kind in measured.stages:
        head += [f"texts/s, {kind}", "service / it", "CPU µs per text"]
    rows = []
    for name in (SERVICE, *_compared(measured)):
        row = [name]
        for kind in measured.stages:
            loads = measured.loads[Case(name, "REST", kind, _CONNECTIONS)]
            row += [
                f"{median(load.rate for load in loads):,.0f}",
                f"{median(_rounds(measured, 'rate', SERVICE, name, kind)):.2f}",
                f"{median(load.cpu for load in loads) * 1e6:.0f}",
            ]
        rows.append(row)
    return table(head, rows)


def _comparison(measured: Measurements) -> str:
    """Return the ratios of this service, in several forms, to the other applications."""
    others = _compared(measured)
    rows = []
    for name, attribute, kind, ours in (
        (f"texts/s, {WHOLE}", "rate", WHOLE, SERVICE),
        (f"texts/s, {WHOLE}, 8 bits", "rate", WHOLE, QUANTIZED),
        (f"texts/s, {WHOLE}, without the operator", "rate", WHOLE, GENERAL),
        (f"texts/s, {SHORT}", "rate", SHORT, SERVICE),
        (f"texts/s, {SHORT}, without the operator", "rate", SHORT, GENERAL),
        (f"server CPU, {WHOLE}", "cpu", WHOLE, SERVICE),
        (f"server CPU, {WHOLE}, 8 bits", "cpu", WHOLE, QUANTIZED),
        (f"server CPU, {SHORT}", "cpu", SHORT, SERVICE),
    ):
        rows.append([name, *(spread(_rounds(measured, attribute, ours, other, kind)) for other in others)])
    return table([f"at {_CONNECTIONS} connections, this service divided by", *others], rows)


def _rounds(measured: Measurements, attribute: str, ours: str, other: str, kind: str) -> list[float]:
    """Return the ratio of two servers in each round."""
    pair = (measured.loads[Case(name, "REST", kind, _CONNECTIONS)] for name in (ours, other))
    return [getattr(one, attribute) / getattr(another, attribute) for one, another in zip(*pair, strict=True)]


def _loads(measured: Measurements) -> str:
    head = ["", "texts", "connections", "texts/s", "p50 ms", "p99 ms", "server CPU µs per text", "errors"]
    rows = []
    for case, loads in measured.loads.items():
        rate, p50, p99, cpu = (median(values) for values in list(zip(*loads, strict=True))[:4])
        numbers = [f"{rate:,.0f}", number(p50 * 1e3), number(p99 * 1e3), f"{cpu * 1e6:.0f}"]
        errors = sum(load.errors for load in loads)
        rows.append([f"{case.server}, {case.protocol}", case.kind, f"{case.connections}", *numbers, f"{errors}"])
    return table(head, rows)


def _stages(measured: Measurements) -> str:
    stages = measured.stages.values()
    rows = [[name, *(number(median(each[name]) * 1e6) for each in stages)] for name in measured.stages[WHOLE]]
    return table(["in process, µs per text", *measured.stages], rows)


def _ratios(measured: Measurements) -> str:
    """Return the medians of the ratios in each round, and their range."""
    rows = []
    for name, dividend, divisor, kinds in _RATIOS:
        pairs = {kind: zip(dividend(measured, kind), divisor(measured, kind), strict=True) for kind in kinds}
        ratios = {kind: spread(one / other for one, other in pair) for kind, pair in pairs.items()}
        rows.append([name, *(ratios.get(kind, "") for kind in measured.stages)])
    return table(["median of the ratios in each round (range)", *measured.stages], rows)


def _sizes(measured: Measurements) -> str:
    """Return the numbers for sizing a deployment. A dedicated core runs no load generator."""
    loads = {kind: measured.loads[Case(SERVICE, "REST", kind, 32)] for kind in measured.stages}
    cpu = {kind: median(load.cpu for load in each) for kind, each in loads.items()}
    supervisor, *workers = measured.memory
    rows = [
        ["requests/s at 32 connections", *(f"{median(load.rate for load in each):,.0f}" for each in loads.values())],
        ["processor time per request, µs", *(f"{each * 1e6:.0f}" for each in cpu.values())],
        ["requests/s of a core to itself: 1 / processor time", *(f"{1 / each:,.0f}" for each in cpu.values())],
        ["memory of the supervisor (PSS), MB", f"{supervisor:.0f}", ""],
        ["memory of each worker (PSS), MB", ", ".join(f"{each:.0f}" for each in workers), ""],
        ["ready after the start of the process, s", spread(measured.ready), ""],
    ]
    return table(["sizes", *loads], rows)


def save_plot(measured: Measurements, path: Path) -> None:
    """Plot the rate and the processor time per text of every case as bars."""
    save_bars({", ".join(map(str, case)): loads for case, loads in measured.loads.items()}, path)


def save_bars(named: Mapping[str, Sequence[Load]], path: Path) -> None:
    """Plot medians of the rate and of the processor time per text as bars. Those of this service are darker."""
    from matplotlib.figure import Figure

    names = list(named)
    figure = Figure(figsize=(11, 0.32 * len(names) + 1.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, title, values in (
        (left, "texts per second", [median(load.rate for load in loads) for loads in named.values()]),
        (
            right,
            "processor time per text, µs",
            [median(load.cpu for load in loads) * 1e6 for loads in named.values()],
        ),
    ):
        colors = ["#1f6f8b" if name.startswith(SERVICE) else "#b9b4a7" for name in names]
        bars = axes.barh(names, values, color=colors)
        axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3, fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.15)
    left.invert_yaxis()
    figure.savefig(path)
