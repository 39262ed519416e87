"""Dynamic batching: requests that arrive together run together.

There are two policies with one interface:

- `LoopBatcher` runs small and medium batches on a CPU. A batch is what arrived in one turn of the event loop, and it
  runs on the event loop's thread, because handing it to another thread costs as much as running it. There is no
  batching delay. A batch is faster than its texts one by one because code and tables stay in the processor's caches. A
  small batch runs in one turn of the event loop, and a medium one in steps: one run of the graph per turn.
- `ThreadBatcher` runs large batches, and all batches on a GPU, on a separate thread, one at a time.

A client that disconnects cancels its job. A job that is cancelled, or whose deadline passes, before it begins never
runs.
"""

from __future__ import annotations

import asyncio
import math
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from time import perf_counter_ns
from typing import Any, Generic, NamedTuple, TypeVar

from sentiment_conv1d.artifact.tokenizer import Encoding
from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.server.errors import DeadlineExceeded
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.telemetry.statistics import BatchTimes

#: Converts the rows of a job, texts or ids, to encodings.
Encode = Callable[[Sequence[Any]], list[Encoding]]


@dataclass(slots=True, eq=False)
class Job(ABC):
    """Rows of one request that run in the same batch."""

    rows: Sequence[Any]
    encode: Encode
    size: int  # characters or ids
    seconds: float  # the longest time to wait
    arrived: int  # a time of `perf_counter_ns`

    @property
    @abstractmethod
    def over(self) -> bool:
        """Whether nothing waits for the result any more."""


class Batch(NamedTuple):
    """The predictions of jobs that ran together, one after the other. All jobs get the times of the whole batch."""

    predictions: list[Prediction]
    runs: int  # of the graph
    times: BatchTimes


AnyJob = TypeVar("AnyJob", bound=Job)

#: Takes jobs that ran together and their batch, or jobs that did not run and why. Called on the event loop.
Finish = Callable[[Sequence[AnyJob], Batch | BaseException], None]


#: The largest size of a batch that any tokenizer reads in one step.
_TOGETHER = 16_384


class Done(NamedTuple):
    """The result of a piece."""

    predictions: list[Prediction]
    times: BatchTimes


@dataclass(slots=True, eq=False)
class Piece(Job):
    """Some rows of a request that waits for a future."""

    future: asyncio.Future[Done]

    @property
    def over(self) -> bool:
        return self.future.done()


def finish_pieces(pieces: Sequence[Piece], result: Batch | BaseException) -> None:
    """Set the futures of pieces whose requests still wait."""
    start = 0
    for piece in pieces:
        end = start + len(piece.rows)
        if not piece.over:
            if isinstance(result, Batch):
                piece.future.set_result(Done(result.predictions[start:end], result.times))
            elif isinstance(result, CancelledError):
                piece.future.cancel()
            else:
                piece.future.set_exception(result)
        start = end


def submit(
    batcher: Batcher[Piece], rows: Sequence[Any], encode: Encode, size: int, seconds: float = math.inf
) -> asyncio.Future[Done]:
    """Queue a piece, and return its future. Cancelling the future cancels the piece."""
    future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
    batcher.add(Piece(rows, encode, size, seconds, perf_counter_ns(), future))
    return future


class Pulse:
    """Shows whether a thread makes progress.

    The thread calls `beat` before and after every step, and another thread calls `stalled` from time to time.
    """

    def __init__(self) -> None:
        self._beats = 0  # odd during a step
        self._seen = 0

    def beat(self) -> None:
        """Begin or end a step."""
        self._beats += 1

    def stalled(self) -> bool:
        """Return whether the thread is in the step in which it was at the last call."""
        before, self._seen = self._seen, self._beats
        return before == self._seen and before % 2 == 1


class Batcher(ABC, Generic[AnyJob]):
    """Queues the jobs of one classifier, and passes those of each batch to `finish`. Belongs to one event loop.

    `max_rows` and `max_size` limit a batch. A larger job runs alone.
    """

    def __init__(
        self, classifier: ServedClassifier, finish: Finish[AnyJob], max_rows: int, max_size: float = math.inf
    ) -> None:
        self.max_rows = max_rows
        self._max_size = max_size
        self._classifier = classifier
        self._finish = finish
        self._waiting: deque[AnyJob] = deque()

    def add(self, job: AnyJob) -> None:
        """Queue a job for a batch. It gets `DeadlineExceeded` if it waits longer than its `seconds`."""
        self._waiting.append(job)
        self._start(asyncio.get_running_loop())

    @abstractmethod
    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the next batch if it is time. Called after a job has been queued."""

    def _take(self) -> list[AnyJob]:
        """Remove and return the jobs of the next batch, oldest first, without those that are over or too late."""
        jobs: list[AnyJob] = []
        rows, size = 0, 0
        now = perf_counter_ns()
        while self._waiting:
            job = self._waiting[0]
            if job.over:
                pass
            elif (now - job.arrived) * 1e-9 > job.seconds:
                self._finish([job], DeadlineExceeded(f"no answer within {job.seconds:g} s"))
            else:
                rows += len(job.rows)
                size += job.size
                if jobs and (rows > self.max_rows or size > self._max_size):
                    break
                jobs.append(job)
            self._waiting.popleft()
        return jobs

    def _ran(self, jobs: Sequence[AnyJob], batch: Batch) -> None:
        if jobs:
            self._classifier.statistics.ran(len(batch.predictions), batch.runs)
            self._finish(jobs, batch)


class LoopBatcher(Batcher[AnyJob]):
    """Runs the jobs of one turn of the event loop in the next turn, on the event loop's thread.

    If `stepwise`, every run of the graph has its own turn, so other requests wait for one run at most. A separate
    thread would use more processor time for the same batch, because it shares the interpreter lock with the event loop.
    Otherwise `max_size` limits the time for which the event loop is blocked.
    """

    def __init__(
        self,
        classifier: ServedClassifier,
        finish: Finish[AnyJob],
        max_rows: int,
        max_size: float,
        *,
        stepwise: bool,
    ) -> None:
        super().__init__(classifier, finish, max_rows, max_size)
        self._stepwise = stepwise
        self._steps: Iterator[None] | None = None  # the remaining runs of a batch

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._steps is None and len(self._waiting) == 1:
            loop.call_soon(self._step, loop)

    def _step(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._steps is None:
            self._steps = self._run()
        for _ in self._steps:
            if self._stepwise:
                break  # until the next turn
        else:
            self._steps = None
        if self._steps is not None or self._waiting:
            loop.call_soon(self._step, loop)

    def _run(self) -> Iterator[None]:
        """Run the next batch, and yield after every run of the graph except the last."""
        jobs = self._take()
        try:
            batch = yield from steps(self._classifier, jobs)
        except Exception as error:
            self._finish(jobs, error)
        else:
            self._ran(jobs, batch)


#: Batches queued for the thread if there is no batching delay. The second one begins when the first one ends, even if
#: the event loop is busy.
_AHEAD = 2


class ThreadBatcher(Batcher[AnyJob]):
    """Runs batches on a thread, one at a time. A batch starts at once if the thread is idle.

    Under load, a batch waits until it has as many rows as the last one, or `max_rows`, for at most `max_delay` seconds
    after its oldest job. Clients that wait for each answer are therefore served together, and a single client is served
    at once.
    """

    def __init__(
        self,
        classifier: ServedClassifier,
        finish: Finish[AnyJob],
        executor: Executor,
        pulse: Pulse,
        max_rows: int,
        max_delay: float = 0.0,
    ) -> None:
        super().__init__(classifier, finish, max_rows)
        self._executor = executor
        self._pulse = pulse
        self._max_delay = int(max_delay * 1e9)
        self._running = 0
        self._most_running = 1 if max_delay else _AHEAD
        self._timer: asyncio.TimerHandle | None = None
        self._last_rows = 0
        self._free_since = perf_counter_ns()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._waiting[0].over:
            self._waiting.popleft()
        if self._running >= self._most_running or not self._waiting:
            return
        if (delay := self._delay()) > 0:
            self._timer = loop.call_later(delay * 1e-9, self._start, loop)
            return
        jobs = self._take()
        self._last_rows = sum(len(job.rows) for job in jobs)
        try:
            running = self._executor.submit(self._run_wanted, jobs)
        except RuntimeError as error:  # the executor was shut down
            self._finish(jobs, error)
            return
        self._running += 1
        # `asyncio.wrap_future` would take another turn of the event loop to deliver the result.
        running.add_done_callback(lambda future: loop.call_soon_threadsafe(self._ended, loop, jobs, future))

    def _run_wanted(self, jobs: list[AnyJob]) -> Batch:
        """Run the jobs that are not over. Called on the thread."""
        jobs[:] = [job for job in jobs if not job.over]
        # Linux lets a thread compute for milliseconds before another one that has woken up runs. This thread yields to
        # the event loops of this worker and the other workers as often as possible.
        work = steps(self._classifier, jobs)
        while True:
            self._pulse.beat()
            try:
                next(work)
            except StopIteration as end:
                batch: Batch = end.value
                return batch
            finally:
                self._pulse.beat()
                os.sched_yield()

    def _delay(self) -> int:
        """Return the nanoseconds to wait for more rows."""
        now = perf_counter_ns()
        if now - self._free_since >= self._max_delay:  # the thread was idle, so there is no load
            return 0
        if sum(len(job.rows) for job in self._waiting) >= min(self._last_rows, self.max_rows):
            return 0
        return self._waiting[0].arrived + self._max_delay - now

    def _ended(self, loop: asyncio.AbstractEventLoop, jobs: list[AnyJob], running: Future[Batch]) -> None:
        self._running -= 1
        self._free_since = perf_counter_ns()
        try:
            batch = running.result()
        except Exception as error:  # `CancelledError` if the executor was shut down
            self._finish(jobs, error)
        else:
            self._ran(jobs, batch)
        self._start(loop)


def steps(classifier: ServedClassifier, jobs: Sequence[Job]) -> Generator[None, None, Batch]:
    """Run the rows of jobs together, and yield after every run of the graph except the last.

    A tokenizer that takes long reads a large batch text by text, and there is a break after each. The breaks count as
    queue time.
    """
    breaks = 0
    started = perf_counter_ns()
    if classifier.tokenizer.cost > 1 and sum(job.size for job in jobs) > _TOGETHER:
        encodings: list[Encoding] = []
        for job in jobs:
            for row in job.rows:
                encodings += job.encode([row])
                left = perf_counter_ns()
                yield
                breaks += perf_counter_ns() - left
    else:
        encodings = _encode(jobs)
    encoded = perf_counter_ns() - breaks
    by_row: dict[int, Prediction] = {}
    runs = 0
    for some in classifier.runs(encodings):
        by_row.update(some)
        runs += 1
        if len(by_row) < len(encodings):
            left = perf_counter_ns()
            yield
            breaks += perf_counter_ns() - left
    predictions = [by_row[row] for row in range(len(encodings))]
    infer = perf_counter_ns() - encoded - breaks
    return Batch(predictions, runs, BatchTimes(started + breaks, encoded - started, infer))


def _encode(jobs: Sequence[Job]) -> list[Encoding]:
    """Encode the rows of all jobs. Consecutive jobs with the same encoder are encoded together."""
    encodings: list[Encoding] = []
    for encode, alike in groupby(jobs, key=attrgetter("encode")):
        encodings += encode([row for job in alike for row in job.rows])
    return encodings
