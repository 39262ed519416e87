"""Dynamic batching: jobs share batches, wait, and get their own answers."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter_ns
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.service.scheduling import batching
from sentiment_conv1d.service.scheduling.batching import (
    Batcher,
    Done,
    LoopBatcher,
    Piece,
    Pulse,
    ThreadBatcher,
    finish_pieces,
    steps,
)
from sentiment_conv1d.service.scheduling.batching import submit as submit_piece
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.telemetry.statistics import Statistics
from tests.processes import PATIENCE

#: A delay that is longer than any test.
NEVER = 3600.0


class Echo:
    """Replaces a classifier. The prediction of a row is the row."""

    def __init__(self) -> None:
        self.statistics = Statistics(["label"])
        self.tokenizer = SimpleNamespace(cost=1)
        self.batches: list[list[str]] = []
        self.rows_of_a_run = 100
        self.ran: list[list[str]] = []
        self.threads: set[threading.Thread] = set()
        self.entered = threading.Semaphore(0)
        self.open = threading.Semaphore(0)
        self.gated = False
        self.running: Callable[[list[str], int], None] = lambda rows, run: None  # called in each run, by its number

    def runs(self, encodings: Sequence[str]) -> Iterator[dict[int, Prediction]]:
        """Answer after `open` is set, if gated. `fail` raises."""
        self.batches.append(list(encodings))
        self.threads.add(threading.current_thread())
        if self.gated:
            self.entered.release()
            assert self.open.acquire(timeout=PATIENCE)
        rows = cast(list[Prediction], list(encodings))
        for first in range(0, len(rows), self.rows_of_a_run):
            ran = list(encodings[first : first + self.rows_of_a_run])
            self.ran.append(ran)
            self.running(list(encodings), first // self.rows_of_a_run)
            if "fail" in ran:
                raise RuntimeError("broken")
            yield dict(enumerate(rows[first : first + self.rows_of_a_run], first))

    def classify(self, encodings: Sequence[str]) -> tuple[list[Prediction], int]:
        """Classify with all steps."""
        runs = list(self.runs(encodings))
        return [each for some in runs for each in some.values()], len(runs)

    async def until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=PATIENCE)


@pytest.fixture
def echo() -> Iterator[Echo]:
    """Create an `Echo` that is opened at the end."""
    echo = Echo()
    yield echo
    echo.open.release(1000)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Create an executor with one thread."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


def in_turn(echo: Echo, max_rows: int = 32, max_size: int = 100) -> LoopBatcher[Piece]:
    return LoopBatcher(cast(ServedClassifier, echo), finish_pieces, max_rows, max_size, stepwise=False)


def in_steps(echo: Echo, max_rows: int = 32, max_size: int = 100) -> LoopBatcher[Piece]:
    return LoopBatcher(cast(ServedClassifier, echo), finish_pieces, max_rows, max_size, stepwise=True)


def on_thread(echo: Echo, executor: ThreadPoolExecutor, max_rows: int = 32, **delay: float) -> ThreadBatcher[Piece]:
    return ThreadBatcher(cast(ServedClassifier, echo), finish_pieces, executor, Pulse(), max_rows, **delay)


def submit(batcher: Batcher[Piece], *rows: str) -> asyncio.Future[Done]:
    return submit_piece(batcher, rows, as_they_are, sum(map(len, rows)))


def as_they_are(rows: Sequence[Any]) -> list[Any]:
    return list(rows)


async def answers(*futures: asyncio.Future[Done]) -> list[Any]:
    """Return the rows of each job, or the name of its exception."""
    results = await asyncio.gather(*futures, return_exceptions=True)
    return [result.predictions if isinstance(result, Done) else type(result).__name__ for result in results]


def play(story: Coroutine[Any, Any, None]) -> None:
    """Run a scenario with a time limit. No callback of the event loop may fail."""
    failures: list[dict[str, Any]] = []

    async def bounded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        async with asyncio.timeout(PATIENCE):
            await story

    asyncio.run(bounded())
    assert failures == []


def test_pulse() -> None:
    """A thread stalls if it is in the same step at two calls; between steps, it is idle."""
    pulse = Pulse()
    for _ in range(2):
        pulse.beat()
        assert [pulse.stalled(), pulse.stalled()] == [False, True]
        pulse.beat()
        assert [pulse.stalled(), pulse.stalled()] == [False, False]
    pulse.beat()
    assert not pulse.stalled()
    pulse.beat()
    pulse.beat()
    assert not pulse.stalled()


def test_one_turn_runs_together(echo: Echo) -> None:
    """Jobs that are submitted in one turn of the event loop run together on the thread."""

    async def story() -> None:
        batcher = in_turn(echo)
        assert await answers(submit(batcher, "a"), submit(batcher, "b", "c")) == [["a"], ["b", "c"]]
        assert echo.batches == [["a", "b", "c"]]
        assert echo.threads == {threading.current_thread()}
        assert echo.statistics["runs"] == 1

    play(story())


def test_different_encoders(echo: Echo) -> None:
    """Jobs that run together can have different encoders, and adjacent jobs with the same one share a call."""
    calls: list[list[str]] = []

    def louder(rows: Sequence[Any]) -> list[Any]:
        calls.append(list(rows))
        return [row.upper() for row in rows]

    async def story() -> None:
        batcher = in_turn(echo)
        ways = (as_they_are, louder, louder, as_they_are)
        jobs = [submit_piece(batcher, [row, row], way, 2) for row, way in zip("abcd", ways, strict=True)]
        assert await answers(*jobs) == [["a", "a"], ["B", "B"], ["C", "C"], ["d", "d"]]
        assert calls == [["b", "b", "c", "c"]]
        assert len(echo.batches) == 1

    play(story())


def test_thread_yields(echo: Echo, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread yields its processor after every run, and the event loop does not."""
    yields: list[threading.Thread] = []
    monkeypatch.setattr(os, "sched_yield", lambda: yields.append(threading.current_thread()))

    async def story() -> None:
        echo.rows_of_a_run = 2
        assert await answers(submit(in_turn(echo), *"abc"), submit(in_steps(echo), *"def")) == [[*"abc"], [*"def"]]
        assert yields == []
        assert await answers(submit(on_thread(echo, executor), *"ghijk")) == [[*"ghijk"]]
        assert len(yields) == 3
        assert threading.current_thread() not in yields

    play(story())


def test_others_have_their_turn_between_steps(echo: Echo) -> None:
    """A batch in steps runs one step per turn of the event loop, and counts as one batch."""

    async def story() -> None:
        echo.rows_of_a_run = 1
        rows = [str(number) for number in range(20)]
        stepped, small = in_steps(echo), in_turn(echo)
        long, late = submit(stepped, *rows[:18]), submit(stepped, *rows[18:])
        for name in "abc":
            assert await answers(submit(small, name)) == [[name]]
        assert not long.done()
        assert await answers(long, late) == [rows[:18], rows[18:]]
        ran = [run for [run] in echo.ran]
        assert [run for run in ran if run.isdigit()] == rows
        assert ran.index("1") < ran.index("b") < ran.index("17")
        assert echo.batches == [rows, ["a"], ["b"], ["c"]]
        assert echo.threads == {threading.current_thread()}
        assert echo.statistics["runs"] == 20 + 3

    play(story())


def test_time_between_steps(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of other work between the steps of a batch does not count as inference time."""
    clock = 0
    monkeypatch.setattr(batching, "perf_counter_ns", lambda: clock)

    def work() -> None:
        nonlocal clock
        assert echo.ran == [["a"]]
        clock += 50

    async def story() -> None:
        echo.rows_of_a_run = 1
        future = submit(in_steps(echo), "a", "b")
        asyncio.get_running_loop().call_soon(work)  # after the first step, in the same turn
        assert (await future).times == (50, 0, 0)

    play(story())


def test_stages(echo: Echo, executor: ThreadPoolExecutor) -> None:
    """The stages of a job do not overlap, and take no longer than the job."""

    async def story() -> None:
        echo.rows_of_a_run = 1
        for batcher in (in_turn(echo), in_steps(echo), on_thread(echo, executor)):
            began = perf_counter_ns()
            times = (await submit(batcher, "a", "b")).times
            assert began <= times.started and sum(times) <= perf_counter_ns()
            assert min(times) >= 0

    play(story())


def test_a_deadline_that_passed(echo: Echo) -> None:
    """A job that has waited too long does not run and fails, and the other jobs of its batch run."""

    async def story() -> None:
        for batcher in (in_turn(echo), in_steps(echo)):
            late, soon, waited = (
                submit_piece(batcher, ["a"], as_they_are, 1, seconds) for seconds in (0.0, 60.0, 60.0)
            )
            batcher._waiting[-1].arrived -= 61 * 10**9
            assert await answers(late, soon, waited) == ["DeadlineExceeded", ["a"], "DeadlineExceeded"]
        assert echo.batches == [["a"], ["a"]]

    play(story())


@pytest.mark.parametrize("make", [in_turn, in_steps])
def test_a_batch_has_limits(echo: Echo, make: Callable[[Echo, int, int], Batcher[Piece]]) -> None:
    """Jobs beyond the rows or the size of a batch run in the next one, and a large job runs alone."""

    async def story() -> None:
        batcher = make(echo, 3, 10)
        rows = ["a", "b", "c", "d", "x" * 9, "e", "y" * 50, "f"]
        assert await answers(*(submit(batcher, row) for row in rows)) == [[row] for row in rows]
        assert echo.batches == [["a", "b", "c"], ["d", "x" * 9], ["e"], ["y" * 50], ["f"]]

    play(story())


def test_idle_device(echo: Echo, executor: ThreadPoolExecutor) -> None:
    """Successive callers are answered at once, for any batching delay."""

    async def story() -> None:
        batcher = on_thread(echo, executor, max_delay=NEVER)
        for name in ("a", "b", "c"):
            assert await answers(submit(batcher, name)) == [[name]]
        assert echo.batches == [["a"], ["b"], ["c"]]
        assert threading.current_thread() not in echo.threads

    play(story())


def test_gathering_while_the_device_is_busy(echo: Echo, executor: ThreadPoolExecutor) -> None:
    """Jobs that arrive during a run form the next batches, oldest first, up to the rows of a batch."""

    async def story() -> None:
        echo.gated = True
        batcher = on_thread(echo, executor, max_rows=4, max_delay=NEVER)
        futures = [submit(batcher, "first")]
        await echo.until_entered()
        futures += [submit(batcher, "a", "b"), submit(batcher, "c"), submit(batcher, "d", "e"), submit(batcher, "f")]
        echo.open.release(10)
        assert await answers(*futures) == [["first"], ["a", "b"], ["c"], ["d", "e"], ["f"]]
        assert echo.batches == [["first"], ["a", "b", "c"], ["d", "e", "f"]]

    play(story())


def test_the_next_batch_is_on_the_thread_already(echo: Echo, executor: ThreadPoolExecutor) -> None:
    """Without a batching delay, a batch starts when the previous one ends, even if the event loop is busy."""

    async def story() -> None:
        echo.gated = True
        batcher = on_thread(echo, executor)
        for _ in range(2):
            futures = [submit(batcher, row) for row in ("first", "second", "a", "b")]
            echo.open.release(3)
            for _ in range(2):  # without a turn of the event loop
                assert echo.entered.acquire(timeout=PATIENCE)
            assert await answers(*futures) == [["first"], ["second"], ["a"], ["b"]]
            assert echo.entered.acquire(timeout=PATIENCE)
        assert echo.batches == [["first"], ["second"], ["a", "b"]] * 2

    play(story())


def test_wait_under_load(echo: Echo, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers that return one by one run together again. The wait ends with the batching delay of the oldest job."""
    delays: list[float] = []

    async def story() -> None:
        echo.gated = True
        batcher = on_thread(echo, executor, max_delay=NEVER)
        first = submit(batcher, "first")
        await echo.until_entered()
        three = [submit(batcher, row) for row in "abc"]
        echo.open.release(10)
        await answers(first, *three)
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "call_later", lambda delay, *_: delays.append(delay))
            again = [submit(batcher, "a")]
            batcher._waiting[0].arrived -= int((NEVER - 60) * 1e9)
            again.append(submit(batcher, "b"))
        await asyncio.sleep(0)
        assert len(echo.batches) == 2
        again.append(submit(batcher, "c"))
        assert await answers(*again) == [["a"], ["b"], ["c"]]
        assert echo.batches == [["first"], ["a", "b", "c"], ["a", "b", "c"]]

    play(story())
    assert [0 < delay <= most for delay, most in zip(delays, (NEVER, 60), strict=True)] == [True, True]


def test_the_oldest_row_waits_no_longer_than_the_delay(echo: Echo, executor: ThreadPoolExecutor) -> None:
    """If fewer callers return, the batching delay ends the wait."""

    async def story() -> None:
        echo.gated = True
        batcher = on_thread(echo, executor, max_delay=0.05)
        first = submit(batcher, "first")
        await echo.until_entered()
        two = [submit(batcher, "a"), submit(batcher, "b")]
        echo.open.release(10)
        await answers(first, *two)
        assert await answers(submit(batcher, "a")) == [["a"]]

    play(story())


def test_a_failed_batch_is_not_the_end(echo: Echo, executor: ThreadPoolExecutor) -> None:
    """All jobs of a failed batch get the error, and the next batch runs."""

    async def story() -> None:
        echo.rows_of_a_run = 1
        for batcher in (in_turn(echo), in_steps(echo), on_thread(echo, executor)):
            for _ in range(3):
                together = submit(batcher, "first", "fail", "last"), submit(batcher, "neighbour")
                assert await answers(*together) in (["RuntimeError"] * 2, ["RuntimeError", ["neighbour"]])
                assert await answers(submit(batcher, "fine")) == [["fine"]]
        assert ["last"] not in echo.ran

    play(story())


@pytest.mark.parametrize("delay", [0.0, NEVER])
def test_cancelled_jobs(echo: Echo, executor: ThreadPoolExecutor, delay: float) -> None:
    """A cancelled job that has not started never runs, and one that runs does not affect the others."""

    async def story() -> None:
        echo.gated = True
        batcher = on_thread(echo, executor, max_delay=delay)
        running = submit(batcher, "running")
        await echo.until_entered()
        gone, stays, last = (submit(batcher, row) for row in ("gone", "stays", "gone"))
        for each in (running, gone, last):
            each.cancel()
        echo.open.release(10)
        assert await answers(stays) == [["stays"]]
        assert await answers(submit(batcher, "later")) == [["later"]]
        for here in (in_turn(echo), in_steps(echo)):
            gone = submit(here, "gone")
            gone.cancel()
            assert await answers(submit(here, "stays")) == [["stays"]]
            assert await answers(submit(here, "later")) == [["later"]]
        assert "gone" not in [row for batch in echo.batches for row in batch]

    play(story())


def test_closed_executor(echo: Echo) -> None:
    """A job fails at once if the thread has ended."""

    async def story() -> None:
        executor = ThreadPoolExecutor(1)
        batcher = on_thread(echo, executor, max_delay=NEVER)
        echo.gated = True
        running = submit(batcher, "running")
        await echo.until_entered()
        waiting = submit(batcher, "waiting")
        executor.shutdown(wait=False)
        echo.open.release(10)
        assert await answers(running, waiting) == [["running"], "RuntimeError"]
        assert await answers(submit(batcher, "late")) == ["RuntimeError"]

    play(story())


def test_executor_that_drops_jobs(echo: Echo) -> None:
    """Jobs that an executor drops at shutdown fail, and the running batch is answered."""

    async def story() -> None:
        executor = ThreadPoolExecutor(1)
        batcher = on_thread(echo, executor, max_rows=1)
        echo.gated = True
        running = submit(batcher, "running")
        await echo.until_entered()
        dropped, waiting = submit(batcher, "dropped"), submit(batcher, "waiting")
        executor.shutdown(wait=False, cancel_futures=True)
        echo.open.release(10)
        assert await answers(running, dropped, waiting) == [["running"], "CancelledError", "RuntimeError"]
        assert dropped.cancelled()
        assert echo.batches == [["running"]]

    play(story())


@given(
    jobs=st.lists(
        st.tuples(st.integers(1, 5), st.sampled_from(["stay", "leave", "pause", "fail", "leave 0", "leave 1"])),
        max_size=40,
    ),
    max_rows=st.integers(1, 8),
    rows_of_a_run=st.integers(1, 8),
    delay=st.sampled_from([0.0, 0.001]),
)
@example([(1, "leave 0"), (1, "stay")], 8, 8, 0.0)
def test_own_answers(jobs: list[tuple[int, str]], max_rows: int, rows_of_a_run: int, delay: float) -> None:
    """For any order of arrivals, cancellations and failures, each caller gets its own answer or an error.

    A job can be cancelled before its batch, in its first run ("leave 0") and in its second one. It fails only with a
    job of its batch.
    """
    futures: list[asyncio.Future[Done]] = []

    def leave(rows: list[str], run: int) -> None:
        """Cancel the jobs in a batch that leave in this run."""
        for row in rows:
            if row != "fail" and jobs[int(row.split(".")[0])][1] == f"leave {run}":
                futures[int(row.split(".")[0])].cancel()

    async def story() -> None:
        loop, its_thread = asyncio.get_running_loop(), threading.current_thread()

        def running(rows: list[str], run: int) -> None:
            if threading.current_thread() is its_thread:
                leave(rows, run)
            elif any(job[1] == f"leave {run}" for job in jobs):
                left = threading.Event()
                loop.call_soon_threadsafe(leave, rows, run)
                loop.call_soon_threadsafe(left.set)
                assert left.wait(PATIENCE)

        with ThreadPoolExecutor(1) as executor:
            echo = Echo()
            echo.rows_of_a_run, echo.running = rows_of_a_run, running
            here = in_turn(echo, max_rows), in_steps(echo, max_rows)
            for batcher in (*here, on_thread(echo, executor, max_rows, max_delay=delay)):
                futures.clear()
                echo.batches.clear()
                for number, (count, what) in enumerate(jobs):
                    rows = [f"{number}.{row}" for row in range(count)] + (["fail"] if what == "fail" else [])
                    futures.append(submit(batcher, *rows))
                    if what == "leave":
                        futures[-1].cancel()
                    if what == "pause":
                        await asyncio.sleep(0)
                results = await answers(*futures)
                await asyncio.to_thread(executor.submit(int).result)  # the last batch has ended, also if nobody waits
                batches = {row: batch for batch in echo.batches for row in batch}
                for number, ((count, what), result) in enumerate(zip(jobs, results, strict=True)):
                    if what == "leave":
                        assert result == "CancelledError"
                        continue
                    batch = batches[f"{number}.0"]
                    runs = batch.index("fail") // rows_of_a_run + 1 if "fail" in batch else len(batch)
                    if what.startswith("leave ") and int(what[-1]) < min(runs, -(-len(batch) // rows_of_a_run)):
                        assert result == "CancelledError"
                    elif "fail" in batch:
                        assert result == "RuntimeError"
                    else:
                        assert result == [f"{number}.{row}" for row in range(count)]
                for batch in echo.batches:
                    assert len(batch) <= max(max_rows, 6)

    play(story())


@pytest.mark.parametrize(("cost", "size", "read"), [(1, 20_000, ["abc"]), (4, 16_384, ["abc"]), (4, 16_385, [*"abc"])])
def test_a_tokenizer_that_takes_long(cost: int, size: int, read: list[str], echo: Echo) -> None:
    """It reads a large batch text by text, with a break after each, and a small one at once."""
    echo.tokenizer.cost = cost
    found: list[str] = []

    def encode(rows: Sequence[Any]) -> list[Any]:
        found.append("".join(rows))
        return list(rows)

    piece = Piece(list("abc"), encode, size, NEVER, 0, cast(asyncio.Future[Done], None))
    work = steps(cast(ServedClassifier, echo), [piece])
    breaks = 0
    while True:
        try:
            next(work)
        except StopIteration as end:
            assert end.value.predictions == ["a", "b", "c"]
            break
        breaks += 1
    assert (found, breaks) == (read, len(read) if len(read) > 1 else 0)
