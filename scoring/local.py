"""The engine of one machine: a process for each core, with one session of one thread each."""

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

#: Parts that run or wait for each process.
_AHEAD = 2


def score_locally(job: Job, parts: Iterator[Part], workers: int) -> Iterator[Result]:
    """Score parts in processes of their own; results come in the order of the parts.

    A single part, or a single worker, needs no other process. Raises as `score_part` does, once the parts that run are
    complete, and `DataError` if a process dies.
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
    """How processes start: forked from a server that has imported what they need, or afresh where none exists.

    Processes forked from the caller would inherit its threads and sessions in whatever state they are.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    parquet = ("sentiment_conv1d.scoring.arrow", "sentiment_conv1d.scoring.parquet") if find_spec("pyarrow") else ()
    context.set_forkserver_preload([__name__, *parquet])
    return context


def _begin() -> None:
    """Leave Ctrl-C to the first process, and end when that one is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
