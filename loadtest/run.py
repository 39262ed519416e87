"""Runs a test, and collects its results in a document, from which the report is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from time import monotonic, perf_counter
from typing import Any

import psutil

from loadtest.document import FORMAT
from loadtest.generation.load import Load, Sending
from loadtest.generation.pool import GeneratorPool
from loadtest.measurement import machine
from loadtest.measurement.metrics import Snapshot, between, cost
from loadtest.measurement.objective import Objective
from loadtest.measurement.processors import ProcessorTime, is_here, others
from loadtest.measurement.step import Step, knee, measure, most_disturbed
from loadtest.plan import Plan, next_rate
from loadtest.progress import Progress
from loadtest.traffic.requests import FORMS, Request
from loadtest.traffic.target import Target
from loadtest.units import callers, duration

#: Concurrent callers in the comparison of protocols.
_CALLERS = 16

#: If the service answers a smaller share of a rate, the rate exceeds its capacity. Two such rates end the open loop.
_KEPT_UP = 0.95


class Interrupted(Exception):
    """The test ends early: Ctrl-C, or the time limit."""


@dataclass(eq=False)
class LoadTest:
    """One test. `execute` fills `document`, which is a partial report if the test is interrupted."""

    plan: Plan
    target: Target
    pool: GeneratorPool
    objective: Objective | None
    traffic: Mapping[str, Sequence[Request]]
    max_seconds: float
    about: Mapping[str, Any]  # added to the document: what is tested, and with which options
    memory: Callable[[], float] | None = None  # of the service in bytes, in place of the service's own metric

    def __post_init__(self) -> None:
        self._deadline = monotonic() + self.max_seconds
        self._progress = Progress(self._expected())
        self.document: dict[str, Any] = {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "interrupted": None,
            "machine": machine.describe(),
            "versions": machine.versions(),
            "plan": asdict(self.plan),
            **self.about,
            "closed": [],
            "open": [],
            "protocols": [],
        }

    def execute(self) -> None:
        """Run every step of the plan, until Ctrl-C or the time limit."""
        began = perf_counter()
        snapshot = Snapshot.take(self.target)
        self.document |= {"workers": snapshot.workers, "models": snapshot.models}
        self._overhead = cost(self.target)
        self._is_here = is_here(self.target.rest.host)
        try:
            self._closed_loop()
            self._open_loop()
            self._search()
            self._protocols()
        except Interrupted as reason:
            self.document["interrupted"] = str(reason)
        except KeyboardInterrupt:
            self.document["interrupted"] = "interrupted"
        self._progress.close()
        self.document["seconds"] = round(perf_counter() - began, 1)
        self._conclude()

    def _closed_loop(self) -> None:
        for count in self.plan.concurrency:
            self._step("closed", f"closed loop, {callers(count)}", self._load(callers=count))

    def _open_loop(self) -> None:
        throughput = max((step.throughput for step in self.document["closed"]), default=0.0)
        rates = self.plan.rates_for(throughput) if throughput or self.plan.rates else ()
        beyond = 0
        for number, rate in enumerate(rates):
            step = self._step("open", f"open loop, {rate:,g} per second", self._load(rate=rate))
            beyond = beyond + 1 if step.throughput < _KEPT_UP * rate else 0
            if beyond == 2 and self.plan.rates is None:
                self._progress.more(number + 1 - len(rates))
                return

    def _search(self) -> None:
        if self.objective is None or self.plan.rates is not None:
            return
        for _ in range(self.plan.searches):
            rate = next_rate(self.objective, self.document["open"])
            if rate is None:
                break
            self._step("open", f"open loop, {rate:,g} per second", self._load(rate=rate))
        self.document["open"].sort(key=lambda step: step.requested_rate)

    def _protocols(self) -> None:
        if not self.plan.protocols:
            return
        for name, form in FORMS.items():
            if name in self.traffic:
                title = f"{form.title}, {_CALLERS} callers"
                self._step("protocols", title, self._load(traffic=name, callers=_CALLERS))

    def _load(self, **step: Any) -> Load:
        """Return the load of a step, which differs from the plan in these fields."""
        planned = {each.name: getattr(self.plan, each.name) for each in fields(Sending)}
        return Load(**planned | step, warmup=min(0.5, self.plan.seconds / 4))

    def _step(self, kind: str, title: str, load: Load) -> Step:
        self._check_time(load.seconds + load.warmup)
        self._progress.begin(title)
        before = Snapshot.take(self.target)
        psutil.cpu_percent()  # the next call returns the use of all processors since this one
        began = ProcessorTime.read()
        found = self.pool.run(load, lambda passed, over: self._progress.update(passed, load.seconds, over))
        busy = psutil.cpu_percent() / 100
        ended = ProcessorTime.read()
        server = between(before, Snapshot.take(self.target), self._overhead)
        if server is not None and self.memory is not None:
            server["memory_bytes"] = self.memory()
        seconds = self._service_seconds(server)
        elsewhere = None if seconds is None else round(others(began, ended, seconds, psutil.cpu_count() or 1), 4)
        step = replace(measure(load, found), title=title, server=server, machine_busy=busy, other_programs=elsewhere)
        self.document[kind].append(step)
        self._progress.end(step.throughput, step.latency, step.failed)
        if found.interrupted:
            raise Interrupted("interrupted")
        return step

    def _service_seconds(self, server: dict[str, Any] | None) -> float | None:
        """Return the processor time of a service on this machine beside that of this test. None if it is unknown."""
        if self.memory is not None or not self._is_here:
            return 0.0
        return None if server is None else server["cpu_seconds"]

    def _check_time(self, seconds: float) -> None:
        if monotonic() + seconds > self._deadline:
            raise Interrupted("out of time (--max-seconds)")

    def _expected(self) -> int:
        plan = self.plan
        rates = len(plan.rates_for(1000.0))
        searches = plan.searches if self.objective is not None and plan.rates is None else 0
        protocols = sum(name in FORMS for name in self.traffic) if plan.protocols else 0
        return len(plan.concurrency) + rates + searches + protocols

    def _conclude(self) -> None:
        """Add the results of all steps together."""
        document = self.document
        steps = [*document["closed"], *document["open"], *document["protocols"]]
        document["knee"] = knee(document["open"])
        document["best"] = max(document["closed"], key=lambda step: step.throughput, default=None)
        document["requests"] = sum(step.requests for step in steps)
        document["failed"] = sum(step.failed for step in steps)
        document["objective"] = self._judge(document["open"])
        document["warnings"] = warnings(steps)

    def _judge(self, steps: Sequence[Step]) -> dict[str, Any] | None:
        objective = self.objective
        if objective is None:
            return None
        best = objective.highest(steps)
        rate = None if best is None else best.rate
        workers = self.document["workers"]
        # A worker uses one core, so further cores do not count.
        cores = min(filter(None, (workers, self.document["service_cores"])), default=None)
        return {
            "text": objective.text,
            "met": objective.verdict(steps, len(self.plan.rates) if self.plan.rates else 1),
            "rate": rate,
            "rate_per_worker": rate / workers if rate and workers else None,
            "rate_per_core": rate / cores if rate and cores else None,
            "misses": {f"{step.requested_rate:g}": objective.misses(step) for step in steps},
        }


def warnings(steps: Sequence[Step]) -> list[str]:
    """Return what a reader has to know before trusting the numbers."""
    found = []
    limited = [step for step in steps if step.generator.bottleneck]
    if limited:
        titles = "; ".join(step.title for step in limited)
        found.append(
            f"The generator, not the server, was the bottleneck in {len(limited)} of {len(steps)} steps ({titles}). "
            "The server can do more than these numbers say: use more --processes, or send from another machine."
        )
    if most := most_disturbed(steps):
        count = sum(step.disturbed for step in steps)
        found.append(
            f"Discard this run: other programs used up to {most:.0%} of the machine, and 10% or more in {count} of "
            f"{len(steps)} steps."
        )
    late = [step for step in steps if step.generator.late and not step.generator.bottleneck]
    if late:
        lags = ((step.title, step.generator.lag_p50, step.generator.lag_p99) for step in late)
        titles = "; ".join(f"{title}: p50 {duration(p50)}, p99 {duration(p99)}" for title, p50, p99 in lags)
        found.append(
            "The machine kept the generator from sending on time, and the latencies include this delay: "
            f"{titles}. Give the generator processors of its own, or send from another machine."
        )
    short = [step for step in steps if step.interrupted]
    if short:
        found.append(f"{short[0].title} was interrupted after {short[0].seconds:.1f} s.")
    return found
