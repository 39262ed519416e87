"""A process that sends requests: on a schedule (open loop), or one after each response (closed loop).

Latency is measured from the moment a request was due, not from the moment it was sent. A server that pauses for a
second delays every request that was due in that second. A client that waits for responses would send only one of them
and miss the delay of the others, which is known as coordinated omission.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import multiprocessing
import os
import resource
import threading
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np
import uvloop

from loadtest.generation.load import Floats, Found, Load
from loadtest.generation.rest import ConnectionPool
from loadtest.generation.rpc import Calls
from loadtest.generation.timer import Timer
from loadtest.traffic.requests import Request, Transport
from loadtest.traffic.target import Target

#: Requests that a late generator sends before it reads responses.
_BURST = 32

#: Seconds between two updates of the progress.
PROGRESS_SECONDS = 0.25


class Share(NamedTuple):
    """The number of this generator, and the number of all generators."""

    number: int
    of: int


def schedule(load: Load, share: Share) -> Floats:
    """Return the moments when this generator's requests are due, in seconds from the start. The warm-up is negative.

    The moments of all generators together are evenly spaced, or form one Poisson process.
    """
    assert load.rate is not None
    warmup = int(load.warmup * load.rate)
    count = warmup + max(1, min(round(load.seconds * load.rate), load.max_requests))
    if load.poisson:
        # For a given number of arrivals, those of a Poisson process are uniformly distributed.
        random = np.random.default_rng(0)
        moments = np.sort(random.uniform(-load.warmup, load.seconds, count))
    else:
        moments = np.arange(-warmup, count - warmup) / load.rate
    return moments[share.number :: share.of]


class Generator:
    """Runs one step: first `prepare`, then `run`."""

    def __init__(self, load: Load, share: Share, requests: Sequence[Request], target: Target) -> None:
        self._load = load
        self._share = share
        # Each generator starts with a different request.
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
        self._sent = self._measured = self._over = 0
        self._interrupted = False
        self._stopped = False
        self._finished = asyncio.Event()

    async def prepare(self) -> None:
        """Open the connections."""
        connections = self._of(self._load.connections if self._load.open else self._load.callers or 0)
        if self._http is not None:
            await self._http.open(connections)
        if self._rpc is not None:
            await self._rpc.open(min(connections, 16))

    async def run(self, start: float) -> Found:
        """Send requests from the warm-up before `start`, a time of `perf_counter`, and return what happened."""
        self._start = start
        self._end = start + self._load.seconds
        gc.collect()
        gc.freeze()  # garbage collection during a step would add to the measured latency
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
            # The last request has the full timeout too.
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
        if self._load.open and not self._interrupted:
            # What could not be sent in time is at least this late.
            self._lag.extend(ended - due for due in self._moments[self._next :] if due >= start)
        return self._found(self._counted(ended - start), usage.share)

    def stop(self) -> None:
        """End the step early, and return the results so far."""
        self._interrupted = self._stopped = True
        self._finished.set()

    @property
    def over(self) -> int:
        """The number of finished requests."""
        return self._over

    def _of(self, total: int) -> int:
        """Return this generator's share of a total."""
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
        """Send the requests that are due, and set the timer for the next one."""
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
        self._measured += due >= self._start
        transport = self._http if request.transport is Transport.HTTP else self._rpc
        assert transport is not None
        transport.send(request, due)

    def _ended(self, request: Request, due: float, moment: float, outcome: str) -> None:
        """Record a request that finished at `moment`."""
        if self._interrupted:
            return  # requests in flight count neither as answered nor as failed
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
            self._send_due(1)  # many responses at once do not delay requests that are due
        elif not self._load.open and self._goes_on(due, now) and self._measured < self._of(self._load.max_requests):
            self._send(now)
        else:
            self._finish_if_over()

    def _goes_on(self, due: float, now: float) -> bool:
        """Return whether the caller of a request sends another. Every caller sends at least one that counts."""
        return now < self._end or due < self._start

    def _finish_if_over(self) -> None:
        if self._over == self._sent and (not self._load.open or self._next == len(self._moments)):
            self._finished.set()

    def _counted(self, passed: float) -> float:
        """Return the duration that counts in the results, if `passed` seconds have passed since the start."""
        if not self._measured and not self._interrupted:
            return self._load.seconds  # other generators send all requests that count
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
            cpu=[cpu if self._sent else 0.0],
            connections=self._http.most if self._http is not None else 0,
            interrupted=self._interrupted,
        )


@dataclass(eq=False)
class Worker:
    """The state of a generator process between its steps."""

    _share: Share
    _target: Target
    _traffic: Mapping[str, Sequence[Request]]
    _stop: Event  # ends the running step
    _over: Synchronized[int]  # the number of finished requests, which the parent reads

    def __post_init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def prepare(self, load: Load) -> None:
        """Open the connections for a step."""
        self._generator = self._runner.run(self._prepared(load))

    def run(self, start: float) -> Found:
        """Run the step."""
        return self._runner.run(self._run(start))

    async def _prepared(self, load: Load) -> Generator:
        generator = Generator(load, self._share, self._traffic[load.traffic], self._target)
        await generator.prepare()
        return generator

    async def _run(self, start: float) -> Found:
        reporting = asyncio.create_task(self._report())
        found = await self._generator.run(start)
        reporting.cancel()
        return found

    async def _report(self) -> None:
        """Report the progress until the step is to end early, and then end it."""
        while not self._stop.is_set():
            self._over.value = self._generator.over
            await asyncio.sleep(PROGRESS_SECONDS)
        self._generator.stop()


_worker: Worker


def begin(*arguments: Any) -> None:
    """Make this process a `Worker` with these arguments."""
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # With the usual limit of 1,024 open files, the server would appear to refuse further connections.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _worker = Worker(*arguments)


def prepare(load: Load) -> None:
    """Prepare a step in this process."""
    _worker.prepare(load)


def run(start: float) -> Found:
    """Run the step that this process has prepared."""
    return _worker.run(start)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _Usage:
    """Measures the share of a processor that this process uses, without the active waiting of the timer."""

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
