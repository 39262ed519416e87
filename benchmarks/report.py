"""What a run of `benchmarks.serving` says: a table of medians, the ratios that matter, a plot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.inside import AMONG, AMONG_32, NAIVE, PREDICT, PREDICT_32
from benchmarks.rest import Load

#: As in `benchmarks.serving.Case`: server, protocol, kind of text, connections.
Key = tuple[str, str, str, int]


@dataclass
class Measurements:
    """Every round of everything."""

    loads: dict[Key, list[Load]]
    stages: dict[str, dict[str, list[float]]]  # by kind of text and name: seconds a text
    memory: list[float] = field(default_factory=list)  # MB of the supervisor and of each worker
    ready: list[float] = field(default_factory=list)  # seconds from the start of the process

    def pairs(self, one: Key, other: Key) -> Iterable[tuple[Load, Load]]:
        """Two cases, round by round."""
        return zip(self.loads[one], self.loads[other], strict=True)


def print_table(measured: Measurements) -> None:
    """Medians of all rounds."""
    print(f"{'':41} {'texts':6} {'conn.':>5} {'texts/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>7} {'errors':>6}")
    for (server, protocol, kind, connections), loads in measured.loads.items():
        rate, p50, p99, cpu = (median(values) for values in list(zip(*loads, strict=True))[:4])
        errors = sum(load.errors for load in loads)
        print(
            f"{server:18} {protocol:22} {kind:6} {connections:5} {rate:8.0f} {p50 * 1e3:8.2f} {p99 * 1e3:8.2f} "
            f"{cpu * 1e6:7.0f} {errors:6}"
        )
    print()
    for kind, stages in measured.stages.items():
        for name, values in stages.items():
            print(f"in process, {kind}: {name:60} {median(values) * 1e6:7.1f} us")
    print()


def print_ratios(measured: Measurements) -> None:
    """Medians of the ratios of each round, and how far these spread."""

    def show(what: str, values: Iterable[float]) -> None:
        each = list(values)
        print(f"{what:82} {median(each):5.2f}  ({min(each):.2f} to {max(each):.2f})")

    service, naive, asgi, fastapi = (
        ("service", "REST"),
        ("naive", "REST"),
        ("constant ASGI", "REST"),
        ("constant FastAPI", "REST"),
    )
    for kind in measured.stages:
        pairs = measured.pairs((*service, kind, 32), (*naive, kind, 32))
        show(f"texts/s at 32 connections, {kind}: service / naive", (ours.rate / theirs.rate for ours, theirs in pairs))
    pairs = measured.pairs((*service, "whole", 64), (*naive, "whole", 64))
    show("p99 at 64 connections, whole: service / naive", (ours.p99 / theirs.p99 for ours, theirs in pairs))
    for kind, stages in measured.stages.items():
        inside = stages[AMONG]
        costs = zip(measured.pairs((*service, kind, 32), (*asgi, kind, 32)), inside, strict=True)
        show(
            f"CPU a request, {kind}: service / (constant ASGI + in process)",
            (ours.cpu / (floor.cpu + stage) for (ours, floor), stage in costs),
        )
        costs = zip(
            measured.pairs(("service, 1 worker", "gRPC", kind, 8), ("constant gRPC", "gRPC", kind, 8)),
            stages[PREDICT],
            strict=True,
        )
        show(
            f"CPU a call, {kind}: service of 1 worker / (constant gRPC + in process)",
            (ours.cpu / (floor.cpu + stage) for (ours, floor), stage in costs),
        )
        pairs = measured.pairs((*service, kind, 1), (*fastapi, kind, 1))
        show(
            f"p50 at 1 connection, {kind}: service / constant FastAPI", (ours.p50 / floor.p50 for ours, floor in pairs)
        )
        for name in (PREDICT, PREDICT_32):
            both = zip(stages[name], stages[NAIVE], strict=True)
            show(f"in process, {kind}, {name}: ours / naive", (ours / theirs for ours, theirs in both))
    together = measured.stages["whole"][AMONG_32]
    for protocol in ("REST batch of 32", "gRPC batch of 32", "gRPC stream"):
        loads = zip(together, measured.loads["service", protocol, "whole", 8], strict=True)
        show(f"in process, 32 at a time / CPU a text of {protocol}, whole", (stage / load.cpu for stage, load in loads))
    costs = zip(
        measured.pairs(("service, 1 worker", "gRPC stream", "whole", 8), ("constant gRPC", "gRPC stream", "whole", 8)),
        measured.stages["whole"][PREDICT],
        strict=True,
    )
    show(
        "CPU a message of a stream, whole: service of 1 worker / (constant gRPC + in process)",
        (ours.cpu / (floor.cpu + stage) for (ours, floor), stage in costs),
    )
    pairs = measured.pairs(("service", "REST, beside batches", "short", 4), (*service, "short", 4))
    show("p99 of short requests beside batches of 256 / without", (beside.p99 / alone.p99 for beside, alone in pairs))
    pairs = measured.pairs((*service, "whole", 32), ("service, 1 worker", "REST", "whole", 16))
    show("CPU a request, whole: 2 workers, 32 connections / 1 worker, 16", (two.cpu / one.cpu for two, one in pairs))
    both = zip(measured.stages["whole"][AMONG], measured.stages["whole"][PREDICT], strict=True)
    show("in process, whole: one of a process for every processor / alone", (among / alone for among, alone in both))
    workers = ", ".join(f"{size:.0f}" for size in measured.memory[1:])
    print(f"\nmemory (PSS): supervisor {measured.memory[0]:.0f} MB, workers {workers} MB")
    spread = f"({min(measured.ready):.2f} to {max(measured.ready):.2f})"
    print(f"ready {median(measured.ready):.2f} s {spread} after the start of the process")


def save_plot(measured: Measurements, path: Path) -> None:
    """Texts a second and processor time a text of every case, as bars."""
    save_bars({", ".join(map(str, case)): loads for case, loads in measured.loads.items()}, path)


def save_bars(named: Mapping[str, Sequence[Load]], path: Path) -> None:
    """Texts a second and processor time a text, as bars: the medians. This service's names begin with `service`."""
    from matplotlib.figure import Figure

    names = list(named)
    figure = Figure(figsize=(11, 0.32 * len(names) + 1.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, title, values in (
        (left, "texts a second", [median(load.rate for load in loads) for loads in named.values()]),
        (
            right,
            "processor time a text, us",
            [median(load.cpu for load in loads) * 1e6 for loads in named.values()],
        ),
    ):
        colors = ["#1f6f8b" if name.startswith("service") else "#b9b4a7" for name in names]
        bars = axes.barh(names, values, color=colors)
        axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3, fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.15)
    left.invert_yaxis()
    figure.savefig(path)
