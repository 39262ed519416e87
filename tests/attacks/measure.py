"""Measures the cost of an attack: the memory of the workers and of the kernel, and the latency of another caller."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

import httpx

from tests.attacks.probe import PROTOCOLS, Probe, percentile
from tests.attacks.scenarios import LEFTOVER_MEGABYTES, Scenario, Setup
from tests.kernel_memory import kernel_megabytes
from tests.proc import Peak, anonymous_megabytes, children, proportional_megabytes
from tests.processes import ServerProcess

#: Seconds for which latency is measured at least, even if an attack ends sooner.
_LEAST = 0.5

#: Seconds for a worker to release its memory after the attackers have disconnected.
_SETTLE = 60.0

#: Seconds between two measurements of the kernel's memory, which take milliseconds for thousands of connections.
_KERNEL_SECONDS = 0.1

#: Statuses of requests over a limit of the worker.
_REFUSALS = ("429", "RESOURCE_EXHAUSTED")


class Idle(NamedTuple):
    """A server without attackers."""

    megabytes: float  # of the workers and the kernel
    waits: tuple[float, ...]  # p99 in seconds, per protocol


class Result(NamedTuple):
    """The cost of an attack."""

    name: str
    sent: int
    idle: Idle
    waits: tuple[float, ...]  # p99 in seconds, per protocol
    peak: float  # megabytes, including the kernel's
    kernel: float  # the kernel's peak
    after: float
    failures: list[str]
    slow: list[str]  # waits of another caller that are too long

    def row(self) -> str:
        """Return a row of a Markdown table."""
        idle, during = (" / ".join(f"{1000 * wait:.0f}" for wait in waits) for waits in (self.idle.waits, self.waits))
        memory = " → ".join(f"{each:.0f}" for each in (self.idle.megabytes, self.peak, self.after))
        verdict = "; ".join((*self.failures, *self.slow)) or "held"
        sent = f"{self.sent / 1e6:.2f} MB"
        return f"| {self.name} | {sent} | {idle} | {during} | {memory} | {self.kernel:.0f} | {verdict} |"


HEAD = (
    "| attack | sent | idle p99, REST / gRPC, ms | p99 meanwhile, ms | memory idle → peak → after, MB "
    "| kernel's part of the peak, MB | outcome |\n"
    "|---|---|---|---|---|---|---|"
)


class Attacked:
    """A server and another caller."""

    def __init__(self, server: ServerProcess, probe: Probe, setup: Setup, idle_seconds: float) -> None:
        self.server = server
        self.probe = probe
        self.workers = children(server.process.pid)
        probe.call(server, setup.key, setup.authority)
        started = time.monotonic()
        time.sleep(idle_seconds)
        waits = [probe.between(started, time.monotonic(), protocol) for protocol in PROTOCOLS]
        self.idle = Idle(self.megabytes() + self.kernel(), tuple(percentile(each, 0.99) for each in waits))
        processes = [server.process.pid, *self.workers]
        proportional = proportional_megabytes(server.process.pid, "Pss_Anon:", "Pss_Shmem:")
        self._shared = anonymous_megabytes(processes) - proportional

    @classmethod
    @contextmanager
    def started(cls, setup: Setup, probe: Probe, idle_seconds: float) -> Iterator[Self]:
        """Run a server in a `with` block. Its log must not contain errors."""
        with setup.start() as server:
            yield cls(server, probe, setup, idle_seconds)
        defects = [line for line in server.log if " ERROR " in line or "Traceback" in line]
        assert not defects, "".join(defects[:5])

    def megabytes(self, *, total: bool = False) -> float:
        """Return the memory of the workers that is not backed by files.

        With `total`, return that of all processes, in which memory that they share counts once.
        """
        server = self.server.process.pid
        if not total:
            return anonymous_megabytes(children(server))
        return anonymous_megabytes([server, *children(server)]) - self._shared

    def kernel(self) -> float:
        """Return the memory that the kernel holds for the server's connections, which the container is charged for."""
        return kernel_megabytes([self.server.port, self.server.grpc_port])

    def measure(self, name: str, scenario: Scenario, times: int, *, waits: float) -> Result:
        """Attack the server and return the cost. The p99 of another caller may grow by `waits` seconds."""
        idle = self.idle
        # Earlier attacks may have left memory behind, which the last check limits.
        before = max(idle.megabytes, self.megabytes() + self.kernel())
        failures: list[str] = []
        slow: list[str] = []
        processes = Peak(lambda: self.megabytes(total=scenario.total))
        with processes, Peak(self.kernel, seconds=_KERNEL_SECONDS) as kernel:
            started = time.monotonic()
            try:
                sent = scenario.attack(self.server, times)
            except (AssertionError, OSError, httpx.TransportError) as error:
                sent = 0
                failures.append(str(error))
            ended = max(time.monotonic(), started + _LEAST)
            self.probe.catch_up(ended)
        during = [self.probe.between(started, ended, protocol) for protocol in PROTOCOLS]
        peak = processes.megabytes + kernel.megabytes
        after = self._settled(idle.megabytes)
        result = Result(
            name,
            sent,
            idle,
            tuple(percentile(each, 0.99) for each in during),
            peak,
            kernel.megabytes,
            after,
            failures,
            slow,
        )
        if after > idle.megabytes + LEFTOVER_MEGABYTES:
            failures.append(f"{after - idle.megabytes:.0f} MB stay")
        # Many attackers with a key fill the request buffers, and then other callers are rejected.
        refusals = scenario.refusals or (times > 1 and scenario.setup.key is None)
        bound = scenario.peak_megabytes + (0 if scenario.total else before)
        if peak > bound:
            failures.append(f"the peak is {peak - bound:.0f} MB too high")
        for protocol, wait, usual in zip(PROTOCOLS, result.waits, idle.waits, strict=True):
            if wait > usual + waits:
                slow.append(f"{protocol} waits {1000 * (wait - usual):.0f} ms longer")
        for protocol, each in zip(PROTOCOLS, during, strict=True):
            if bad := {wait.status for wait in each} - {"200", *(_REFUSALS if refusals else ())}:
                failures.append(f"{protocol} was answered with {', '.join(sorted(bad))}")
        if self.workers != children(self.server.process.pid):
            failures.append("a worker was replaced")
        return result

    def _settled(self, idle: float) -> float:
        """Return the memory when it is back at its level, or after a time limit."""
        deadline = time.monotonic() + _SETTLE
        while (now := self.megabytes() + self.kernel()) > idle + LEFTOVER_MEGABYTES and time.monotonic() < deadline:
            time.sleep(0.1)
        return now
