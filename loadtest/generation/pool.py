"""A pool of processes that send requests. The process that owns it only waits, so that it takes nothing from them."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from loadtest.errors import LoadTestError
from loadtest.generation.generator import Share, Worker, work
from loadtest.generation.load import Found, Load, merge
from loadtest.traffic.requests import Request
from loadtest.traffic.target import Target

#: Ctrl-C, and the other signals that end a test. A terminal or a service manager sends them to every process.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: Seconds between the moment all generators are ready and the start, so that the order to start reaches them in time.
_MARGIN = 0.05

_PATIENCE = 60.0


class GeneratorPool:
    """Generator processes, from `with` to the end of the block, which ends all of them.

    Raises `LoadTestError` if one of them ends by itself.
    """

    def __init__(self, target: Target, traffic: Mapping[str, Sequence[Request]], processes: int = 1) -> None:
        self._target = target
        self._traffic = traffic
        self.processes = processes
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._orders: list[Connection] = []
        self._findings: list[Connection] = []

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        try:
            for number in range(self.processes):
                ordered, orders = context.Pipe(duplex=False)
                findings, found = context.Pipe(duplex=False)
                worker = Worker(ordered, found, Share(number, self.processes), self._target, self._traffic)
                process = context.Process(target=work, args=(worker,), daemon=True)
                with _signals_held_back():
                    process.start()
                ordered.close()
                found.close()
                self._processes.append(process)
                self._orders.append(orders)
                self._findings.append(findings)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def run(self, load: Load, watch: Callable[[float, int], None] = lambda seconds, over: None) -> Found:
        """Run one step. `watch` is called with the seconds that have passed and the number of finished requests.

        Ctrl-C ends the step early; its result says that it was interrupted.
        """
        self._tell(load)
        self._receive(load.timeout + _PATIENCE)
        start = perf_counter() + _MARGIN + load.warmup
        self._tell(start)
        over = [0] * self.processes

        def progress(number: int, count: int) -> None:
            over[number] = count
            watch(perf_counter() - start, sum(over))

        limit = load.warmup + load.seconds + load.timeout + _PATIENCE
        try:
            found = self._receive(limit, progress)
        except KeyboardInterrupt:
            self._tell(False)
            found = self._receive(_PATIENCE)
        return merge(found)

    def _tell(self, order: Load | float | bool | None) -> None:
        try:
            for pipe in self._orders:
                pipe.send(order)
        except OSError as error:
            raise LoadTestError("a generator ended; its message is above") from error

    def _receive(self, seconds: float, progress: Callable[[int, int], None] | None = None) -> list[Any]:
        """The next message of every generator. Integers are progress and go to `progress`."""
        deadline = perf_counter() + seconds
        said: dict[Connection, Any] = {}
        while len(said) < len(self._findings):
            missing = [pipe for pipe in self._findings if pipe not in said]
            ready = wait(missing, max(0.0, deadline - perf_counter()))
            if not ready:
                raise LoadTestError(f"a generator said nothing for {seconds:.0f} s")
            for pipe in missing:
                if pipe not in ready:
                    continue
                try:
                    message = pipe.recv()
                except EOFError as error:
                    raise LoadTestError("a generator ended; its message is above") from error
                if not isinstance(message, int):
                    said[pipe] = message
                elif progress is not None:
                    progress(self._findings.index(pipe), message)
        return [said[pipe] for pipe in self._findings]

    def _end(self) -> None:
        for pipe in (*self._orders, *self._findings):
            pipe.close()
        for process in self._processes:
            process.join(2)
            if process.is_alive():
                process.kill()
                process.join()


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Processes that start in the block ignore the signals that end a test: their parent handles them."""
    resource_tracker.ensure_running()  # starting it later would unblock the signals
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
