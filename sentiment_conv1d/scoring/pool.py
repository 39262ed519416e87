"""A pool of processes that score batches of texts, in order, each with a session of one thread."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from traceback import format_exception
from typing import Any, Protocol, Self, TypeVar

from sentiment_conv1d.artifact.errors import TransientError
from sentiment_conv1d.commands.interruption import held_back
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


class ProcessKilled(DataError, TransientError):
    """A process of the pool was killed. The run can succeed later."""


class Pool:
    """Scores in `workers` other processes, which live as long as the `with` block, or in this process if it is one.

    The processes are forked if that is safe. They then start at once and share the memory of the session. Separate
    copies of its tables would compete for the cache that the cores share.
    """

    def __init__(self, session: Session, workers: int) -> None:
        self.session = session
        session.classifier()
        self._count = workers if workers > 1 else 0
        self._workers: list[_Worker] = []
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None  # one for each process, which waits for it

    def __enter__(self) -> Self:
        """Start the processes. Raises `DataError` if one cannot be started."""
        try:
            with held_back():
                context = _context(self.session)
                for _ in range(self._count):
                    self._workers.append(_Worker(self.session, context))
            if self._workers:
                self._threads = ThreadPoolExecutor(self._count)
        except BaseException as error:
            self._end()
            if isinstance(error, OSError):
                raise DataError(f"other processes cannot be started ({error}); --workers 1 needs none") from error
            raise
        for worker in self._workers:
            self._free.put(worker)
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    def _end(self) -> None:
        for worker in self._workers:
            worker.kill()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.pipe.close()

    def score(self, batches: Iterator[AnyBatch], explain: int = 0) -> Iterator[tuple[AnyBatch, list[Column]]]:
        """Yield each batch with its added columns, in order. It reads a few batches ahead.

        Raises the errors of `batches`, `NotExplainable`, and `ProcessKilled`.
        """
        if self._threads is None:
            for batch in batches:
                yield batch, score_texts(self.session.classifier(), batch.texts, explain)
            return
        waiting: deque[tuple[AnyBatch, Future[list[Column]]]] = deque()
        for batch in batches:
            waiting.append((batch, self._threads.submit(self._score, batch.texts, explain)))
            if len(waiting) == _AHEAD * self._count:
                first, scored = waiting.popleft()
                yield first, scored.result()
        while waiting:
            first, scored = waiting.popleft()
            yield first, scored.result()

    def _score(self, texts: list[str], explain: int) -> list[Column]:
        worker = self._free.get()
        try:
            return worker.score(texts, explain)
        finally:
            self._free.put(worker)


class _Worker:
    """Another process, which scores one batch at a time.

    It shares a pipe with this process and no lock with others, so that it can be killed at any time. Signals to the
    process group have no effect on it.
    """

    def __init__(self, session: Session, context: multiprocessing.context.BaseContext) -> None:
        self.pipe, theirs = context.Pipe()
        with theirs:
            self._process: Any = context.Process(target=_work, args=(session, theirs), daemon=True)  # type: ignore[attr-defined]
            self._process.start()

    def score(self, texts: list[str], explain: int) -> list[Column]:
        """Score a batch. Raises the errors of `score_texts`, and `ProcessKilled`."""
        try:
            self.pipe.send((texts, explain))
            scored: list[Column] | Exception = self.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise ProcessKilled("a process that scored was killed; run the command again") from error
        if isinstance(scored, Exception):
            raise scored
        return scored

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()


def _work(session: Session, pipe: Connection) -> None:
    """Score batches until the other end of the pipe is closed, which the end of the main process does too."""
    with suppress(EOFError, ConnectionError):
        while True:
            texts, explain = pipe.recv()
            pipe.send(_scored(session, texts, explain))


def _scored(session: Session, texts: list[str], explain: int) -> list[Column] | Exception:
    try:
        return score_texts(session.classifier(), texts, explain)
    except Exception as error:
        error.add_note("".join(format_exception(error)))  # the main process has its own traceback
        return error


def _context(session: Session) -> multiprocessing.context.BaseContext:
    """Return how processes start: forked, or spawned if a forked one could not use what it inherits.

    A lock that another thread holds stays locked in a forked process. The threads of a session and the state of a GPU
    do not exist in it.
    """
    safe = threading.active_count() == 1 and session.threads == 1 and not session.uses_gpu()
    forks = safe and "fork" in multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("fork" if forks else "spawn")
