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
from itertools import chain, islice
from typing import Self

from sentiment_conv1d.model.errors import TransientError
from sentiment_conv1d.model.tables import DataError
from sentiment_conv1d.scoring.part import Job, Result, read_ahead, score_part
from sentiment_conv1d.scoring.plan import Part
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.service.errors import exit_status

#: Parts per process that run or wait.
_AHEAD = 2


class _PassingError(DataError, TransientError):
    """The run can succeed later."""


class LocalEngine:
    """Scores in this process and `workers` - 1 others, which end with the `with` block.

    The other processes are forked if that is safe. They then start at once and share the memory of the session.
    Separate copies of its tables would compete for the cache that the cores share.
    """

    def __init__(self, session: Session, workers: int) -> None:
        session.classifier()
        self._others: ProcessPoolExecutor | None = None
        self._ahead = _AHEAD * (workers - 1)
        if workers > 1:
            try:
                self._others = ProcessPoolExecutor(workers - 1, _context(session), _begin)
                self._others.submit(os.getpid)  # an executor starts its processes at the first call
            except (OSError, RuntimeError) as error:  # of a process, or of the executor's thread
                for process in multiprocessing.active_children():  # otherwise Python would wait for them
                    process.kill()
                problem = f"other processes, which need /dev/shm, cannot be started ({error})"
                raise DataError(f"{problem}; --workers 1 needs none") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._others is not None:
            self._others.shutdown()

    def __call__(self, job: Job, parts: Iterator[Part]) -> Iterator[Result]:
        """Score parts, and yield the results in any order.

        Before an error of a file is raised, the parts before it are completed; before any other, the parts in progress.
        Raises as `score_part` does, and `DataError` if a process dies.
        """
        first = list(islice(parts, 2))
        parts = chain(first, parts)
        if self._others is None or len(first) < 2:
            yield from (score_part(job, part) for part in parts)
            return
        running: dict[Future[Result], Executor] = {}
        damage: list[DataError] = []
        with closing(read_ahead(job, parts)) as ready, ThreadPoolExecutor(1) as here:

            def submit(executor: Executor, count: int) -> None:
                try:
                    running.update((executor.submit(_score, job, part), executor) for part in islice(ready, count))
                except DataError as error:
                    damage.append(error)

            try:
                submit(self._others, self._ahead)
                submit(here, _AHEAD)
                while running:
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        submit(running.pop(future), 1)
                        yield future.result()
                for error in damage:
                    raise error
            except BrokenProcessPool as error:
                raise _PassingError("a process that scored was killed; run the command again to continue") from error
            finally:
                wait([future for future in running if not future.cancel()])


def _score(job: Job, part: Part) -> Result:
    """Call `score_part`. The cause of an error does not reach another process, so the error says if it can pass."""
    try:
        return score_part(job, part)
    except DataError as error:
        if exit_status(error) != os.EX_TEMPFAIL:
            raise
        raise _PassingError(str(error)) from None


def _context(session: Session) -> multiprocessing.context.BaseContext:
    """Return how processes start: forked, or spawned if a forked one could not use what it inherits.

    A lock that another thread holds stays locked in a forked process. The threads of a session and the state of a GPU
    do not exist in it.
    """
    safe = threading.active_count() == 1 and session.threads == 1 and not session.uses_gpu()
    forks = safe and "fork" in multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("fork" if forks else "spawn")


def _begin() -> None:
    """Ignore Ctrl-C, which the main process handles, and end when the main process is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
