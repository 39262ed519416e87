"""The engine for one machine: one process per core, each with a session of one thread."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from itertools import chain, islice

from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.scoring.part import Job, Result, score_part
from sentiment_conv1d.scoring.plan import Part

#: Parts per process that run or wait.
_AHEAD = 2


def score_locally(job: Job, parts: Iterator[Part], workers: int) -> Iterator[Result]:
    """Score parts in worker processes, and yield the results in the order of the parts.

    A single part, or a single worker, runs in this process. After an error, the parts in progress are completed before
    it is raised. Raises as `score_part` does, and `DataError` if a process dies.
    """
    first = list(islice(parts, 2))
    parts = chain(first, parts)
    if workers == 1 or len(first) < 2:
        yield from (score_part(job, part) for part in parts)
        return
    with ProcessPoolExecutor(workers, _context(), _begin) as processes:
        running: deque[Future[Result]] = deque()
        try:
            running.extend(processes.submit(score_part, job, part) for part in islice(parts, _AHEAD * workers))
            while running:
                yield running[0].result()
                running.popleft()
                running.extend(processes.submit(score_part, job, part) for part in islice(parts, 1))
        except BrokenProcessPool as error:
            raise DataError("a process that scored was killed; run the command again to go on") from error
        finally:
            processes.shutdown(wait=True, cancel_futures=True)


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
