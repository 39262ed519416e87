"""Dynamic batching: requests that arrive together run together.

There are three policies with one interface. On a CPU a batch is what arrived in one turn of the event loop, and it runs
on the event loop's thread: handing it to another one would cost as much as the run, and waiting would gain nothing.
Batches pay off all the same, since the code and tables that one text has brought into the caches serve the next. A
batch that would hold others up runs there as well, in steps, one in every turn. A batch that is too large for that, and
every batch on a GPU, runs on a thread, one at a time, while the next one gathers.

A caller that disconnects cancels its future, and a job that has not begun by then never runs. Neither does a job whose
deadline passed while it waited.
"""

from __future__ import annotations

import asyncio
import math
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from itertools import groupby
from operator import attrgetter
from time import perf_counter_ns
from typing import Any, NamedTuple

from sentiment_conv1d.model.tokenizer import Encoding
from sentiment_conv1d.service.errors import DeadlineExceeded
from sentiment_conv1d.service.inference.classifier import Classifier
from sentiment_conv1d.service.inference.prediction import Prediction
from sentiment_conv1d.service.telemetry.statistics import Stages

#: What turns the rows of a job, texts or ids, into encodings.
Encode = Callable[[Sequence[Any]], list[Encoding]]


class Job(NamedTuple):
    """Rows of one request that run together."""

    rows: Sequence[Any]
    encode: Encode
    size: int  # characters or ids
    arrived: int  # nanoseconds of `perf_counter_ns`
    seconds: float  # for which it may wait
    done: asyncio.Future[Done]


class Done(NamedTuple):
    """The result of a job. The times of a batch count for each of its jobs, as in Triton."""

    predictions: list[Prediction]
    stages: Stages


class Batch(NamedTuple):
    """The results of several jobs that ran together, and how often the graph ran for them."""

    done: list[Done]
    runs: int


class Batcher(ABC):
    """The waiting jobs of one classifier. Belongs to one event loop.

    `max_rows` and `max_size` bound a batch; a job that is larger is a batch of its own.
    """

    def __init__(self, classifier: Classifier, max_rows: int, max_size: float = math.inf) -> None:
        self.max_rows = max_rows
        self._max_size = max_size
        self._classifier = classifier
        self._waiting: deque[Job] = deque()

    def submit(self, rows: Sequence[Any], encode: Encode, size: int, seconds: float = math.inf) -> asyncio.Future[Done]:
        """Run rows with others, unless they wait for more than `seconds`; the future may be cancelled."""
        loop = asyncio.get_running_loop()
        job = Job(rows, encode, size, perf_counter_ns(), seconds, loop.create_future())
        self._waiting.append(job)
        self._added(loop)
        return job.done

    @abstractmethod
    def _added(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called after a job was added."""

    def _take(self) -> list[Job]:
        """The oldest jobs that are still wanted, as many as make a batch and at least one if there is any."""
        jobs: list[Job] = []
        rows, size = 0, 0
        now = perf_counter_ns()
        while self._waiting:
            job = self._waiting[0]
            if job.done.done():
                pass  # nobody wants it any more
            elif (now - job.arrived) * 1e-9 > job.seconds:
                job.done.set_exception(DeadlineExceeded(f"no answer within {job.seconds:g} s"))
            else:
                rows += len(job.rows)
                size += job.size
                if jobs and (rows > self.max_rows or size > self._max_size):
                    break
                jobs.append(job)
            self._waiting.popleft()
        return jobs

    def _deliver(self, jobs: list[Job], batch: Batch) -> None:
        if not jobs:
            return
        self._classifier.statistics.ran(sum(len(done.predictions) for done in batch.done), batch.runs)
        for job, done in zip(jobs, batch.done, strict=True):
            if not job.done.done():
                job.done.set_result(done)


class TurnBatcher(Batcher):
    """Runs what arrived in one turn of the event loop in the next, on the event loop's thread.

    `max_size` bounds the time for which nothing else gets its turn.
    """

    def run_at_once(self, rows: Sequence[Any], encode: Encode) -> Done:
        """The result for rows that do not wait for others, because no other request is in flight."""
        started = perf_counter_ns()
        encodings = encode(rows)
        encoded = perf_counter_ns()
        predictions, runs = self._classifier.classify(encodings)
        ended = perf_counter_ns()
        self._classifier.statistics.ran(len(encodings), runs)
        return Done(predictions, Stages(0, encoded - started, ended - encoded))

    def _added(self, loop: asyncio.AbstractEventLoop) -> None:
        if len(self._waiting) == 1:
            loop.call_soon(self._run, loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        jobs = self._take()
        if self._waiting:
            loop.call_soon(self._run, loop)
        try:
            self._deliver(jobs, run(self._classifier, jobs))
        except Exception as error:
            fail(jobs, error)


class StepBatcher(Batcher):
    """Runs batches on the event loop's thread, one run of the graph in each of its turns.

    Other requests wait for one run at most. A thread that shares the interpreter with the event loop would use more
    processor time for the same batch.
    """

    def __init__(self, classifier: Classifier, max_rows: int, max_size: float) -> None:
        super().__init__(classifier, max_rows, max_size)
        self._jobs: list[Job] = []
        self._steps: Generator[None, None, Batch] | None = None  # the remaining runs for these jobs

    def _added(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._steps is None and len(self._waiting) == 1:
            loop.call_soon(self._step, loop)

    def _step(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._steps is None:
            self._jobs = self._take()
            self._steps = steps(self._classifier, self._jobs)
        try:
            next(self._steps)
        except StopIteration as end:
            self._steps = None
            self._deliver(self._jobs, end.value)
        except Exception as error:
            self._steps = None
            fail(self._jobs, error)
        if self._steps is not None or self._waiting:
            loop.call_soon(self._step, loop)


#: Batches handed to the thread at once if they do not gather: the next one begins when the running one ends, however
#: busy the event loop is.
_AHEAD = 2


class ThreadBatcher(Batcher):
    """Runs batches on a thread, one at a time. On an idle device nothing waits.

    Under load, rows gather until there are as many as ran last, or `max_rows`, but for `max_delay` seconds at most,
    counted from the oldest. Callers that wait for an answer before they send the next request are thus served together,
    and a caller that is alone is served at once.
    """

    def __init__(self, classifier: Classifier, executor: Executor, max_rows: int, max_delay: float = 0.0) -> None:
        super().__init__(classifier, max_rows)
        self._executor = executor
        self._max_delay = int(max_delay * 1e9)
        self._running = 0
        self._most_running = 1 if max_delay else _AHEAD
        self._timer: asyncio.TimerHandle | None = None
        self._last_rows = 0
        self._free_since = perf_counter_ns()

    def _added(self, loop: asyncio.AbstractEventLoop) -> None:
        self._start(loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run what waits, if it has waited long enough."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._waiting[0].done.done():
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
            fail(jobs, error)
            return
        self._running += 1
        # Without asyncio's own future around it, which takes a turn of the event loop to learn of this one's end.
        running.add_done_callback(lambda future: loop.call_soon_threadsafe(self._ended, loop, jobs, future))

    def _run_wanted(self, jobs: list[Job]) -> Batch:
        """On the thread: run the jobs whose callers have not disconnected since."""
        jobs[:] = [job for job in jobs if not job.done.done()]
        # Linux lets a thread compute for milliseconds before one that has woken up gets its turn. This one yields as
        # often as it can to event loops: its own and those of other workers.
        work = steps(self._classifier, jobs)
        while True:
            try:
                next(work)
            except StopIteration as end:
                batch: Batch = end.value
                return batch
            finally:
                os.sched_yield()

    def _delay(self) -> int:
        """Nanoseconds for which it is worth waiting for more rows."""
        now = perf_counter_ns()
        if now - self._free_since >= self._max_delay:  # nothing ran lately, so there is no load
            return 0
        if sum(len(job.rows) for job in self._waiting) >= min(self._last_rows, self.max_rows):
            return 0
        return self._waiting[0].arrived + self._max_delay - now

    def _ended(self, loop: asyncio.AbstractEventLoop, jobs: list[Job], running: Future[Batch]) -> None:
        self._running -= 1
        self._free_since = perf_counter_ns()
        try:
            self._deliver(jobs, running.result())
        except CancelledError:  # by the executor, which was shut down
            for job in jobs:
                job.done.cancel()
        except Exception as error:
            fail(jobs, error)
        finally:
            self._start(loop)


def run(classifier: Classifier, jobs: Sequence[Job]) -> Batch:
    """Run the rows of all jobs together; the batch has the result of each job."""
    started = perf_counter_ns()
    encodings = _encode(jobs)
    encoded = perf_counter_ns()
    predictions, runs = classifier.classify(encodings)
    infer = perf_counter_ns() - encoded
    return Batch(_share(jobs, predictions, started, encoded - started, infer), runs)


def steps(classifier: Classifier, jobs: Sequence[Job]) -> Generator[None, None, Batch]:
    """As `run`, with a break after every run of the graph except the last. Breaks count as waiting."""
    started = perf_counter_ns()
    encodings = _encode(jobs)
    encoded = perf_counter_ns()
    by_place: dict[int, Prediction] = {}
    runs = breaks = 0
    for some in classifier.runs(encodings):
        by_place.update(some)
        runs += 1
        if len(by_place) < len(encodings):
            left = perf_counter_ns()
            yield
            breaks += perf_counter_ns() - left
    predictions = [by_place[place] for place in range(len(encodings))]
    infer = perf_counter_ns() - encoded - breaks
    return Batch(_share(jobs, predictions, started + breaks, encoded - started, infer), runs)


def _encode(jobs: Sequence[Job]) -> list[Encoding]:
    """The encodings of all rows. Jobs in a row with the same encoder are encoded together."""
    encodings: list[Encoding] = []
    for encode, alike in groupby(jobs, key=attrgetter("encode")):
        encodings += encode([row for job in alike for row in job.rows])
    return encodings


def _share(jobs: Sequence[Job], predictions: list[Prediction], started: int, tokenize: int, infer: int) -> list[Done]:
    """The result of each job."""
    done = []
    first = 0
    for job in jobs:
        own = predictions[first : first + len(job.rows)]
        done.append(Done(own, Stages(started - job.arrived, tokenize, infer)))
        first += len(job.rows)
    return done


def fail(jobs: Sequence[Job], error: BaseException) -> None:
    """Raise an error in every caller that still waits."""
    for job in jobs:
        if not job.done.done():
            job.done.set_exception(error)
