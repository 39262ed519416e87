"""The engine for one machine: this process and others score, each with a session of one thread, on a core each."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from importlib.util import find_spec
from itertools import chain, islice

from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.scoring.part import Job, Result, read_ahead, score_part
from sentiment_conv1d.scoring.plan import Part

#: Parts per process that run or wait.
_AHEAD = 2


def score_locally(job: Job, parts: Iterator[Part], workers: int) -> Iterator[Result]:
    """Score parts in this process and `workers` - 1 others, and yield the results in any order.

    Before an error of a file is raised, the parts before it are completed; before any other, the parts in progress.
    Raises as `score_part` does, and `DataError` if a process dies.
    """
    first = list(islice(parts, 2))
    parts = chain(first, parts)
    if workers == 1 or len(first) < 2:
        yield from (score_part(job, part) for part in parts)
        return
    running: dict[Future[Result], Executor] = {}
    damage: list[DataError] = []
    with (
        closing(read_ahead(job, parts)) as ready,
        ThreadPoolExecutor(1) as here,
        ProcessPoolExecutor(workers - 1, _context(), _begin) as others,
    ):

        def submit(executor: Executor, count: int) -> None:
            try:
                running.update((executor.submit(score_part, job, part), executor) for part in islice(ready, count))
            except DataError as error:
                damage.append(error)

        try:
            submit(here, _AHEAD)  # this process scores while the others start
            submit(others, _AHEAD * (workers - 1))
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    submit(running.pop(future), 1)
                    yield future.result()
            for error in damage:
                raise error
        except BrokenProcessPool as error:
            raise DataError("a process that scored was killed; run the command again to go on") from error
        finally:
            for executor in (here, others):
                executor.shutdown(wait=False, cancel_futures=True)


def _context() -> multiprocessing.context.BaseContext:
    """Return how processes start: forked from a server that has imported the modules, or spawned if there is none.

    A process forked from the caller would inherit its threads and sessions in an unknown state.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    parquet = ("sentiment_conv1d.scoring.arrow", "sentiment_conv1d.scoring.parquet") if find_spec("pyarrow") else ()
    context.set_forkserver_preload([__name__, *parquet])
    return context


def _begin() -> None:
    """Ignore Ctrl-C, which the main process handles, and end when the main process is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
