"""An attack, and what it cost: the memory of the workers, and the waits of another caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import httpx

from tests.attacks.probe import PROTOCOLS, Probe, percentile
from tests.attacks.scenarios import LEFTOVER_MEGABYTES, Scenario, Setup
from tests.faults.services import workers
from tests.processes import ServerProcess

#: Seconds between two looks at the memory.
_LOOK = 0.01

#: Seconds for which waits are measured at least, however soon an attack is over.
_LEAST = 0.5

#: Seconds in which a worker may give back what it held, once the attackers are gone.
_SETTLE = 10.0


#: Of requests beyond what a worker takes at once.
_REFUSALS = ("429", "RESOURCE_EXHAUSTED")


class Idle(NamedTuple):
    """A server that nobody attacks."""

    megabytes: float
    waits: tuple[float, ...]  # p99 in seconds, a protocol each


class Result(NamedTuple):
    """What an attack cost."""

    name: str
    sent: int
    idle: Idle
    waits: tuple[float, ...]  # p99 in seconds, a protocol each
    peak: float  # megabytes
    after: float
    failures: list[str]
    slow: list[str]  # failures that a busy machine may be the cause of

    def row(self) -> str:
        """A row of a Markdown table."""
        idle, during = (" / ".join(f"{1000 * wait:.0f}" for wait in waits) for waits in (self.idle.waits, self.waits))
        memory = " → ".join(f"{each:.0f}" for each in (self.idle.megabytes, self.peak, self.after))
        verdict = "; ".join((*self.failures, *self.slow)) or "held"
        return f"| {self.name} | {self.sent / 1e6:.2f} MB | {idle} | {during} | {memory} | {verdict} |"


HEAD = (
    "| attack | sent | idle p99, REST / gRPC, ms | p99 meanwhile, ms | memory idle → peak → after, MB | outcome |\n"
    "|---|---|---|---|---|---|"
)


class Attacked:
    """A server and another caller of it."""

    def __init__(self, server: ServerProcess, probe: Probe, setup: Setup, idle_seconds: float) -> None:
        self.server = server
        self.probe = probe
        self.workers = workers(server.process.pid)
        probe.call(server, setup.key)
        started = time.monotonic()
        time.sleep(idle_seconds)
        waits = [probe.between(started, time.monotonic(), protocol) for protocol in PROTOCOLS]
        self.idle = Idle(self.megabytes(), tuple(percentile(each, 0.99) for each in waits))

    @classmethod
    @contextmanager
    def started(cls, setup: Setup, probe: Probe, idle_seconds: float) -> Iterator[Self]:
        """A server of its own, until the end of a `with` block. Its log must be clean of defects."""
        with setup.start() as server:
            yield cls(server, probe, setup, idle_seconds)
        defects = [line for line in server.log if " ERROR " in line or "Traceback" in line]
        assert not defects, "".join(defects[:5])

    def megabytes(self, *, total: bool = False) -> float:
        """The memory of the workers that is no file's, or of all processes of the server."""
        server = self.server.process.pid
        return megabytes_of([*workers(server), *([server] if total else [])])

    def suffer(self, name: str, scenario: Scenario, times: int, *, waits: float) -> Result:
        """Attack the server; `waits` are the seconds by which those of another caller may grow."""
        idle = self.idle
        failures: list[str] = []
        slow: list[str] = []
        with _Peak(lambda: self.megabytes(total=scenario.total)) as peak:
            started = time.monotonic()
            try:
                sent = scenario.attack(self.server, times)
            except (AssertionError, OSError, httpx.TransportError) as error:
                sent = 0
                failures.append(str(error))
            ended = max(time.monotonic(), started + _LEAST)
            self.probe.catch_up(ended)
        during = [self.probe.between(started, ended, protocol) for protocol in PROTOCOLS]
        after = self._settled(idle.megabytes)
        result = Result(
            name,
            sent,
            idle,
            tuple(percentile(each, 0.99) for each in during),
            peak.megabytes,
            after,
            failures,
            slow,
        )
        if after > idle.megabytes + LEFTOVER_MEGABYTES:
            failures.append(f"{after - idle.megabytes:.0f} MB stay")
        # Attackers who may call everything fill the memory for requests if they are many, and then others are refused.
        refusals = scenario.refusals or (times > 1 and scenario.setup.key is None)
        bound = scenario.peak_megabytes + (0 if scenario.total else idle.megabytes)
        if peak.megabytes > bound:
            failures.append(f"the peak is {peak.megabytes - bound:.0f} MB too high")
        for protocol, wait, usual in zip(PROTOCOLS, result.waits, idle.waits, strict=True):
            if wait > usual + waits:
                slow.append(f"{protocol} waits {1000 * (wait - usual):.0f} ms longer")
        for protocol, each in zip(PROTOCOLS, during, strict=True):
            if bad := {wait.status for wait in each} - {"200", *(_REFUSALS if refusals else ())}:
                failures.append(f"{protocol} was answered with {', '.join(sorted(bad))}")
        if self.workers != workers(self.server.process.pid):
            failures.append("a worker was replaced")
        return result

    def _settled(self, idle: float) -> float:
        """The memory once it is back where it was, or does not get there."""
        deadline = time.monotonic() + _SETTLE
        while (now := self.megabytes()) > idle + LEFTOVER_MEGABYTES and time.monotonic() < deadline:
            time.sleep(0.1)
        return now


class _Peak:
    """The most memory in the span of a `with` block."""

    def __init__(self, look: Callable[[], float]) -> None:
        self.megabytes = 0.0
        self._look = look
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK):
            self.megabytes = max(self.megabytes, self._look())


def megabytes_of(processes: Iterable[int]) -> float:
    """The memory of processes that is no file's."""
    return sum(map(_megabytes, processes))


def _megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))) / 1024
