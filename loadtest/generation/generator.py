"""A process that sends requests: on a fixed schedule (open loop), or one for every answer (closed loop).

Latency counts from the moment a request was due, not from the moment it could be sent. A server that pauses for a
second is late with every request that was due in that second. A client that waits for answers would have sent one of
them; leaving out the others is known as coordinated omission.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import resource
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np
import uvloop

from loadtest.generation.load import Floats, Found, Load
from loadtest.generation.rest import ConnectionPool
from loadtest.generation.rpc import Calls
from loadtest.generation.timer import Timer
from loadtest.traffic.requests import Request, Transport
from loadtest.traffic.target import Target

#: Requests sent before answers get their turn, when the generator is behind.
_BURST = 32

#: Seconds between two messages about how far a step is.
_TELL_SECONDS = 0.25


class Share(NamedTuple):
    """The number of this generator, and how many there are."""

    number: int
    of: int


def schedule(load: Load, share: Share) -> Floats:
    """Moments at which this generator's requests are due, in seconds after the start; the warm-up is before zero.

    Together the generators keep one even distance, or one Poisson process.
    """
    assert load.rate is not None
    warmup = int(load.warmup * load.rate)
    count = warmup + max(1, min(round(load.seconds * load.rate), load.max_requests))
    if load.poisson:
        # Given how many there are in a time, the arrivals of a Poisson process lie anywhere in it.
        random = np.random.default_rng(0)
        moments = np.sort(random.uniform(-load.warmup, load.seconds, count))
    else:
        moments = np.arange(-warmup, count - warmup) / load.rate
    return moments[share.number :: share.of]


class Generator:
    """One step, from `prepare` to `run`."""

    def __init__(self, load: Load, share: Share, requests: Sequence[Request], target: Target) -> None:
        self._load = load
        self._share = share
        # Each generator begins at another place.
        start = share.number * len(requests) // share.of
        self._requests = itertools.cycle([*requests[start:], *requests[:start]])
        transports = {request.transport for request in requests}
        self._http = self._rpc = None
        if Transport.HTTP in transports:
            limit = self._of(load.max_connections) if load.open else self._of(load.callers or 0)
            self._http = ConnectionPool(target, self._ended, limit=limit, timeout=load.timeout)
        if transports != {Transport.HTTP}:
            self._rpc = Calls(target, self._ended, timeout=load.timeout)
        self._forms: dict[str, int] = {}
        self._outcomes: dict[str, int] = {}
        self._due, self._latency, self._lag = array("d"), array("d"), array("d")
        self._texts, self._form, self._outcome = array("q"), array("q"), array("q")
        self._sent = self._over = 0
        self._interrupted = False
        self._stopped = False
        self._finished = asyncio.Event()

    async def prepare(self) -> None:
        """Connect."""
        connections = self._of(self._load.connections if self._load.open else self._load.callers or 0)
        if self._http is not None:
            await self._http.open(connections)
        if self._rpc is not None:
            await self._rpc.open(min(connections, 16))

    async def run(self, start: float) -> Found:
        """Send from `start` (of `perf_counter`) minus the warm-up on, wait for the answers, say what happened."""
        self._start = start
        self._end = start + self._load.seconds
        gc.collect()
        gc.freeze()  # a collection over all requests in the middle of a step would count as the server's time
        timer = Timer(self._wake)
        began = perf_counter()
        usage = _Usage(timer)
        sampling = asyncio.get_running_loop().call_later(self._end - began, usage.stop)
        if self._load.open:
            self._moments = (schedule(self._load, self._share) + start).tolist()
            self._next = 0
        self._timer = timer
        timer.set(start - self._load.warmup)
        try:
            # The last to be sent may take its time as well.
            remaining = self._end - began + self._load.timeout + 1
            await asyncio.wait_for(self._finished.wait(), remaining)
        except TimeoutError:
            pass
        finally:
            timer.close()
            sampling.cancel()
            usage.stop()
            gc.unfreeze()
        ended = perf_counter()
        self._stopped = True
        for transport in (self._http, self._rpc):
            if transport is not None:
                await transport.close()
        return self._found(self._counted(ended - start), usage.share)

    def stop(self) -> None:
        """End the step early, with what there is."""
        self._interrupted = self._stopped = True
        self._finished.set()

    @property
    def over(self) -> int:
        """Requests that are over, for those who watch."""
        return self._over

    def _of(self, total: int) -> int:
        """This generator's part of a number."""
        return total // self._share.of + (self._share.number < total % self._share.of)

    def _wake(self) -> None:
        if self._stopped:
            return
        if self._load.open:
            self._send_due()
        else:
            for _ in range(self._of(self._load.callers or 0)):
                self._send(perf_counter())
            self._finish_if_over()

    def _send_due(self, most: int = _BURST) -> None:
        """What is due, and then sleep until the next is."""
        moments = self._moments
        for due in moments[self._next : self._next + most]:
            lag = perf_counter() - due
            if lag < 0:
                break
            self._next += 1
            if due >= self._start:
                self._lag.append(lag)
            self._send(due)
        if self._next < len(moments):
            self._timer.set(moments[self._next])
        else:
            self._finish_if_over()

    def _send(self, due: float) -> None:
        request = next(self._requests)
        self._sent += 1
        transport = self._http if request.transport is Transport.HTTP else self._rpc
        assert transport is not None
        transport.send(request, due)

    def _ended(self, request: Request, due: float, moment: float, outcome: str) -> None:
        """A request is over, since that moment."""
        if self._interrupted:
            return  # what was on its way is neither answered nor failed
        self._over += 1
        if due >= self._start:
            self._due.append(due - self._start)
            self._latency.append(moment - due)
            self._texts.append(request.texts)
            self._form.append(self._forms.setdefault(request.form, len(self._forms)))
            self._outcome.append(self._outcomes.setdefault(outcome, len(self._outcomes)))
        if self._stopped:
            return
        now = perf_counter()
        if self._load.open and self._next < len(self._moments) and self._moments[self._next] <= now:
            self._send_due(1)  # a crowd of answers does not hold up what is due
        elif not self._load.open and now < self._end and self._sent < self._load.max_requests:
            self._send(now)
        else:
            self._finish_if_over()

    def _finish_if_over(self) -> None:
        if self._over == self._sent and (not self._load.open or self._next == len(self._moments)):
            self._finished.set()

    def _counted(self, passed: float) -> float:
        """Seconds that the step's requests stand for, when so many have passed since the start."""
        if self._load.open and not self._interrupted:
            assert self._load.rate is not None
            return min(self._load.seconds, self._load.max_requests / self._load.rate)
        return min(self._load.seconds, max(passed, 0.0))

    def _found(self, seconds: float, cpu: float) -> Found:
        return Found(
            seconds=seconds,
            due=np.array(self._due),
            latency=np.array(self._latency),
            texts=np.array(self._texts, np.int64),
            form=np.array(self._form, np.int64),
            outcome=np.array(self._outcome, np.int64),
            lag=np.array(self._lag),
            forms=list(self._forms),
            outcomes=list(self._outcomes),
            cpu=[cpu],
            connections=self._http.most if self._http is not None else 0,
            interrupted=self._interrupted,
        )


@dataclass
class Worker:
    """A generator process. It runs one step after another, as its parent orders."""

    ordered: Connection
    findings: Connection
    share: Share
    target: Target
    traffic: Mapping[str, Sequence[Request]]

    async def serve(self) -> None:
        """Run steps until the parent sends no more orders or has ended."""
        self._orders: asyncio.Queue[Load | float | None] = asyncio.Queue()
        self._generator: Generator | None = None
        asyncio.get_running_loop().add_reader(self.ordered.fileno(), self._hear)
        while (load := await self._orders.get()) is not None:
            assert isinstance(load, Load)
            self._generator = Generator(load, self.share, self.traffic[load.traffic], self.target)
            await self._generator.prepare()
            self.findings.send(None)
            start = await self._orders.get()
            if start is None:
                return
            assert isinstance(start, float)
            watching = asyncio.create_task(self._tell())
            found = await self._generator.run(start)
            watching.cancel()
            self._generator = None
            self.findings.send(found)

    def _hear(self) -> None:
        """An order: a load to prepare, the moment to start it, `False` to break off, `None` to leave."""
        try:
            order = self.ordered.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self.ordered.fileno())
            order = None
        if order in (False, None) and self._generator is not None:
            self._generator.stop()
        if order is not False:
            self._orders.put_nowait(order)

    async def _tell(self) -> None:
        """Let the parent know how many requests are over."""
        while self._generator is not None:
            await asyncio.sleep(_TELL_SECONDS)
            self.findings.send(self._generator.over)


def work(worker: Worker) -> None:
    """Run a generator process until its parent ends it or has ended."""
    # At the usual limit of 1,024 open files, the server would seem to accept no more connections.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(BrokenPipeError):
        uvloop.run(worker.serve())


class _Usage:
    """The share of a processor that this process uses until it is first stopped, without the timer's busy waiting."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._began = perf_counter()
        self._cpu = process_time()
        self._running = True
        self.share = 0.0

    def stop(self) -> None:
        if self._running:
            self._running = False
            self.share = (process_time() - self._cpu - self._timer.awake) / (perf_counter() - self._began)
