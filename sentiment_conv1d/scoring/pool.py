"""A pool of processes that score batches of texts, in order, each with a session of one thread."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext, ForkContext, ForkProcess, SpawnContext, SpawnProcess
from typing import Protocol, Self, TypeVar

from sentiment_conv1d.artifact.errors import TransientError
from sentiment_conv1d.commands.interruption import check, left_to_this_process, terminated
from sentiment_conv1d.scoring.columns import Column, score_texts
from sentiment_conv1d.scoring.session import Session
from sentiment_conv1d.tables import DataError

#: Batches per process that run or wait. This bounds the memory of a run.
_AHEAD = 2


class Batch(Protocol):
    """What is scored together."""

    @property
    def texts(self) -> list[str]:
        """The texts."""


AnyBatch = TypeVar("AnyBatch", bound=Batch)
Result = TypeVar("Result")


class ProcessKilled(DataError, TransientError):
    """A process of the pool was killed. The run can succeed later."""


class Pool:
    """Scores in `workers` other processes, which end with the `with` block, or in this process if there is one worker.

    The processes are forked if that is safe. They then start at once and share the memory of the session. Separate
    copies of its tables would compete for the cache that the cores share.
    """

    def __init__(self, session: Session, workers: int) -> None:
        self.session = session
        session.classifier()
        self._most = _AHEAD * workers
        self._processes: ProcessPoolExecutor | None = None
        if workers > 1:
            try:
                self._processes = ProcessPoolExecutor(workers, _context(session), _begin)
                self._submit(self._processes, os.getpid)  # an executor starts its processes at the first call
            except (OSError, RuntimeError) as error:  # of a process, or of the executor's thread
                for process in multiprocessing.active_children():  # otherwise Python would wait for them
                    process.kill()
                problem = f"other processes, which need /dev/shm, cannot be started ({error})"
                raise DataError(f"{problem}; --workers 1 needs none") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._processes is not None:
            # After SIGTERM, nobody waits for the batches that run: they end with this process.
            self._processes.shutdown(wait=not terminated(), cancel_futures=True)

    def score(self, batches: Iterator[AnyBatch], explain: int = 0) -> Iterator[tuple[AnyBatch, list[Column]]]:
        """Yield each batch with its added columns, in order. It reads a few batches ahead.

        Raises the errors of `batches`, `NotExplainable`, and `ProcessKilled`.
        """
        if self._processes is None:
            for batch in batches:
                check()
                yield batch, score_texts(self.session.classifier(), batch.texts, explain)
            return
        waiting: deque[tuple[AnyBatch, Future[list[Column]]]] = deque()
        try:
            for batch in batches:
                check()
                waiting.append((batch, self._submit(self._processes, _score, self.session, batch.texts, explain)))
                if len(waiting) == self._most:
                    first, scored = waiting.popleft()
                    yield first, scored.result()
            while waiting:
                first, scored = waiting.popleft()
                yield first, scored.result()
        except BrokenProcessPool as error:
            raise ProcessKilled("a process that scored was killed; run the command again") from error

    @staticmethod
    def _submit(processes: ProcessPoolExecutor, function: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Submit a call, at which processes can start. One that a signal ended could leave the queue locked for all."""
        with left_to_this_process():
            return processes.submit(function, *arguments)


def _score(session: Session, texts: list[str], explain: int) -> list[Column]:
    return score_texts(session.classifier(), texts, explain)


def _context(session: Session) -> BaseContext:
    """Return how processes start: forked, or spawned if a forked one could not use what it inherits.

    A lock that another thread holds stays locked in a forked process. The threads of a session and the state of a GPU
    do not exist in it.
    """
    safe = threading.active_count() == 1 and session.threads == 1 and not session.uses_gpu()
    forks = safe and "fork" in multiprocessing.get_all_start_methods()
    return _Forking() if forks else _Spawning()


class _Forked(ForkProcess):
    terminate = ForkProcess.kill  # the executor ends the others if one was killed, and they ignore SIGTERM


class _Spawned(SpawnProcess):
    terminate = SpawnProcess.kill


class _Forking(ForkContext):
    Process = _Forked


class _Spawning(SpawnContext):
    Process = _Spawned


def _begin() -> None:
    """End when the main process ends."""
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
