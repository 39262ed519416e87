"""A pool of processes that send requests. The parent process only waits, so it takes no processor time from them."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from time import perf_counter
from types import TracebackType
from typing import Self

from loadtest.errors import LoadTestError
from loadtest.generation.generator import PROGRESS_SECONDS, Share, begin, prepare, run
from loadtest.generation.load import Found, Load, merge
from loadtest.traffic.requests import Request
from loadtest.traffic.target import Target

#: The signals that end a test. A terminal or a service manager sends them to every process.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: Seconds from the moment when all generators are ready to the start, so that all of them start on time.
_MARGIN = 0.05


class GeneratorPool:
    """Generator processes, which run from `with` to the end of the block.

    Raises `LoadTestError` if one of them ends by itself.
    """

    def __init__(self, target: Target, traffic: Mapping[str, Sequence[Request]], processes: int = 1) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._over = [context.Value("q") for _ in range(processes)]
        # One executor per process, because a step has to run in the process that prepared it.
        self._executors = [
            ProcessPoolExecutor(1, context, begin, (Share(number, processes), target, traffic, self._stop, over))
            for number, over in enumerate(self._over)
        ]

    def __enter__(self) -> Self:
        with _signals_held_back():
            for executor in self._executors:
                executor.submit(int)  # starts the process
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for executor in self._executors:
            executor.shutdown()

    def run(self, load: Load, progress: Callable[[float, int], None] = lambda seconds, over: None) -> Found:
        """Run one step. `progress` is called with the seconds that have passed and the number of finished requests.

        Ctrl-C ends the step early; its result says that it was interrupted.
        """
        try:
            for ready in [executor.submit(prepare, load) for executor in self._executors]:
                ready.result()
            start = perf_counter() + _MARGIN + load.warmup
            found = [executor.submit(run, start) for executor in self._executors]
            try:
                while (states := wait(found, PROGRESS_SECONDS, FIRST_EXCEPTION)).not_done:
                    for each in states.done:
                        each.result()
                    progress(perf_counter() - start, sum(over.value for over in self._over))
            except KeyboardInterrupt:
                self._stop.set()
            return merge([each.result() for each in found])
        except BrokenProcessPool as error:
            raise LoadTestError("a generator ended; its message is above") from error


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Block the signals that end a test in processes that start in the block: their parent handles the signals."""
    resource_tracker.ensure_running()  # starting it later would unblock the signals
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
