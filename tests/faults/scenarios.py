"""The faults, one function each, with their allowed outcomes."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import httpx
import orjson

from sentiment_conv1d.artifact.manifest import GRAPH_FILE
from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.faults.http import Connection, post
from tests.faults.labels import label_race, missing_version
from tests.faults.load import CALLERS, Answers, Load
from tests.faults.overload import closed_loop, open_loop
from tests.faults.report import Report, check, counted, until_in_flight, until_replaced
from tests.faults.services import deaf_service, publish, shipped_answers
from tests.faults.shutdown import rejected, terminated
from tests.faults.starts import hanging_store, transient_failure
from tests.faults.tally import LEFT, LOST, REFUSED, RIGHT, Tally, quantile
from tests.proc import children, proportional_megabytes
from tests.processes import PATIENCE, ServerProcess

#: Reviews of a request under overload.
_BATCH = 32


Scenario = Callable[[bool], Coroutine[Any, Any, Report]]


async def killed_worker(short: bool) -> Report:
    """(a) kill -9 a worker: only its running requests are lost, and it is replaced."""
    with ServerProcess("--workers", "2") as server:
        load = _load(server)
        kills: list[tuple[float, float]] = []  # from when to when a worker was missing
        async with load.running():
            for _ in range(1 if short else 5):
                await load.go_on(200)
                [victim, _] = children(server.process.pid)
                killed = load.moment
                os.kill(victim, signal.SIGKILL)
                await until_replaced(server, victim)
                await load.go_on(2 * CALLERS)  # whose calls can still use a connection to the killed worker
                kills.append((killed, load.moment))
                await load.go_on(400)
        check(load.tally, lost=CALLERS * len(kills))
        for name in load.tally.names:
            sent, gone = map(float, re.findall(r"at ([\d.]+) s", name))
            during = any(sent <= replaced and gone >= killed for killed, replaced in kills)
            assert during, f"not in a killed worker: {name}"
        return Report(load.tally, [f"killed at {', '.join(f'{killed:.3f} s' for killed, _ in kills)}"])


async def stopped_worker(short: bool) -> Report:
    """(b) SIGSTOP a worker for a while: it answers its requests later, and other workers answer at once."""
    seconds = 1.5 if short else 10
    with ServerProcess("--workers", "2", "--worker-timeout", "60") as server:
        load = _load(server)
        async with load.running():
            await load.go_on(200)
            [victim, _] = children(server.process.pid)
            before = load.tally.counts[RIGHT]
            os.kill(victim, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
                await load.go_on(20)
                meanwhile = load.tally.counts[RIGHT] - before
            finally:
                os.kill(victim, signal.SIGCONT)
            await load.go_on(400)
        check(load.tally)
        assert meanwhile >= 20, "the other worker did not answer"
        return Report(load.tally, [f"{meanwhile} requests were answered while the worker stood still for {seconds} s"])


async def hanging_worker(short: bool) -> Report:
    """(b) SIGSTOP a worker for longer than --worker-timeout: it is replaced, and only its requests are lost."""
    with ServerProcess("--workers", "2", "--worker-timeout", "3" if short else "5") as server:
        load = _load(server)
        async with load.running():
            await load.go_on(200)
            [victim, _] = children(server.process.pid)
            os.kill(victim, signal.SIGSTOP)
            await until_replaced(server, victim)
            await load.go_on(400)
        # On a busy machine, the other worker can miss the time limit too.
        killed = sum("sent no heartbeat" in line for line in server.log)
        assert killed
        check(load.tally, lost=CALLERS * killed)
        return Report(load.tally, [])


async def new_version(short: bool) -> Report:
    """(c) Load a good version: every answer comes from one version, and no request is rejected."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        publish(repository)
        with ServerProcess("--workers", "2", "--admin", "open", repository=repository) as server:
            tallies = []
            for _ in range(1 if short else 5):
                load = _load(server, publish(repository))
                async with load.running():
                    await load.go_on(200)
                    await _ask_to_load(server, 200)
                    await load.go_on(400)
                check(load.tally)
                tallies.append(load.tally)
            now = server.client.get("/v1/models/tickets").json()["version"]
            assert now == str(1 + len(tallies))
        return Report(_together(tallies), [f"versions 2 to {now} were swapped in"])


async def corrupt_version(short: bool) -> Report:
    """(d) Load a corrupt version: it is refused, the reason names the file, and the old version stays."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        answers = publish(repository)
        with ServerProcess("--workers", "2", "--admin", "open", repository=repository) as server:
            load = _load(server, answers)
            async with load.running():
                await load.go_on(200)
                publish(repository)
                graph = repository / "tickets" / "2" / GRAPH_FILE
                whole = graph.read_bytes()
                for content in (b"", whole[: len(whole) // 2], whole[:-1] + b"\0" * (len(whole) > 0)):
                    graph.write_bytes(content)
                    refusal = await _ask_to_load(server, 400)
                    assert str(graph) in refusal.json()["error"]
                await load.go_on(400)
            check(load.tally)
        return Report(load.tally, [f"refused: {refusal.json()['error']}"])


async def overload(short: bool) -> Report:
    """(f) Ten times the capacity: accepted requests are answered soon, and all others are rejected at once."""
    notes = []
    tallies = []
    for kind in (_rest_batches, _grpc_batches):
        with ServerProcess("--workers", "1") as server:
            ask, close = await kind(server)
            measured = 0.5 if short else 4
            most = await closed_loop(ask, 64, measured)
            rate = most.counts[RIGHT] / measured
            at_capacity = await open_loop(ask, rate, 0.5 if short else 30)
            over = await open_loop(ask, 10 * rate, 1 if short else 30)
            texts = await counted(server, series="sentiment_texts_total")
            await close()
        for tally in (most, at_capacity, over):
            assert not tally.counts[LOST], "".join(server.log)
            check(tally, refused=True)
        p99, p99_over = (quantile(tally.seconds[RIGHT], 0.99) for tally in (at_capacity, over))
        notes.append(
            f"{kind.__name__.strip('_')}: capacity {rate:.0f}/s; at capacity p99 {1000 * p99:.0f} ms; "
            f"at 10 x: {over.counts[RIGHT]} right, p99 {1000 * p99_over:.0f} ms ({p99_over / p99:.1f} x); "
            f"{len(over.refused)} refused, median {1000 * quantile(over.refused, 0.5):.1f} ms, "
            f"p99 {1000 * quantile(over.refused, 0.99):.1f} ms"
        )
        assert over.counts[RIGHT] and over.refused
        assert texts == _BATCH * sum(
            tally.counts[RIGHT] for tally in (most, at_capacity, over)
        )  # refusals run no model
        tallies.append(over)
    return Report(_together(tallies), notes)


async def slowloris(short: bool) -> Report:
    """(g) A thousand connections that send a byte now and then are closed, and other callers are not delayed."""
    count = 1000
    with ServerProcess("--workers", "2", "--header-timeout", "1" if short else "10") as server:
        load = _load(server)
        async with load.running():
            slow = [await Connection.to(server.port) for _ in range(count)]
            for connection in slow:
                connection.send(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            async with asyncio.timeout(PATIENCE):
                while open_ones := [connection for connection in slow if connection.open]:
                    for connection in open_ones:
                        connection.send(b"a")
                    await load.go_on(100)
            closed = load.moment
            await load.go_on(100 if short else 10_000)
        check(load.tally)
        return Report(load.tally, [f"the server had closed all {count} slow connections after {closed:.1f} s"])


async def leaving_callers(short: bool) -> Report:
    """(h) Three of ten callers disconnect: the others get their answers, and no request of the three remains."""
    with ServerProcess("--workers", "2") as server:
        load = _load(server, leaving=0.3, pause=0.005)
        async with load.running(rest=16, calls=16, streams=8):
            await load.go_on(1000 if short else 30_000)
        check(load.tally)
        await until_in_flight(server, 0)
        gone = await counted(server, 'status="(499|CANCELLED)"')
        # Some leave when their answer is on its way, and most messages of streams are not counted by themselves.
        assert 0 < gone <= load.tally.counts[LEFT]
        return Report(load.tally, [f"counted as 499 or CANCELLED: {gone:.0f}; in flight afterwards: 0"])


async def full_disk(short: bool) -> Report:
    """(i) The log's disk is full, or nothing reads its pipe: requests are still answered, then exit 0."""
    tallies = []
    answers = shipped_answers()
    reader, unread = os.pipe()
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        for log in (full, unread):
            with deaf_service(log) as (port, grpc_port):
                load = Load(port, grpc_port, answers, pause=0.002)
                async with load.running(rest=28, calls=1, streams=1):
                    await load.go_on(800 if short else 20_000)  # the pipe holds some 600 lines
            check(load.tally)
            tallies.append(load.tally)
    finally:
        for descriptor in (reader, unread, full):
            os.close(descriptor)
    return Report(_together(tallies), ["/dev/full and a pipe that nobody reads"])


async def soak(short: bool, minutes: float = 10) -> Report:
    """(j) A long load in which some callers disconnect: memory stays at its level after the warm-up."""
    with ServerProcess("--workers", "2") as server:
        load = _load(server, pause=0.004, leaving=0.02)
        async with load.running(rest=16, calls=8, streams=4):
            await load.go_on(1500 if short else 100_000)
            before = await _memory(server, load)
            end = load.moment + (2 if short else 60 * minutes)
            while load.moment < end:
                await load.go_on(500)
            after = await _memory(server, load)
        check(load.tally)
        memory = f"memory {before:.1f} MB after the warm-up, {after:.1f} MB at the end"
        assert after < (1.25 if short else 1.05) * before, memory  # a short warm-up is not enough
        return Report(load.tally, [memory])


SCENARIOS: dict[str, Scenario] = {
    function.__name__: function
    for function in (
        killed_worker,
        stopped_worker,
        hanging_worker,
        new_version,
        corrupt_version,
        terminated,
        rejected,
        overload,
        slowloris,
        leaving_callers,
        full_disk,
        soak,
        missing_version,
        label_race,
        hanging_store,
        transient_failure,
    )
}


def _load(server: ServerProcess, answers: Answers | None = None, *, pause: float = 0.02, leaving: float = 0) -> Load:
    return Load(server.port, server.grpc_port, answers or shipped_answers(), pause=pause, leaving=leaving)


def _together(tallies: list[Tally]) -> Tally:
    together = Tally()
    for tally in tallies:
        for outcome, taken in tally.seconds.items():
            together.seconds[outcome] += taken
        together.names += tally.names
    return together


async def _memory(server: ServerProcess, load: Load) -> float:
    """Return the median of some memory samples, because each one depends on the batches in memory.

    File-backed pages are left out, because they are shared with other programs.
    """
    samples = []
    for _ in range(9):
        samples.append(proportional_megabytes(server.process.pid, "Pss_Anon:", "Pss_Shmem:"))
        await load.go_on(100)
    return statistics.median(samples)


async def _ask_to_load(server: ServerProcess, status: int) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=PATIENCE) as client:
        answer = await client.post("/v2/repository/models/tickets/load")
    assert answer.status_code == status, answer.text
    return answer


async def _rest_batches(server: ServerProcess) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[None]]]:
    """Return a REST request of `_BATCH` reviews, and a function that closes its connections."""
    answers = shipped_answers()
    numbers = list(range(_BATCH))
    request = post("/v1/predict_batch", orjson.dumps({"texts": [answers.texts[number] for number in numbers]}))
    idle: list[Connection] = []
    # Over its connection limit the server closes idle connections. These callers reconnect after every pause.
    room = asyncio.Semaphore(1000)

    async def ask() -> str:
        async with room:
            connection = idle.pop() if idle else await Connection.to(server.port)
            try:
                reply = await connection.ask(request)
            except ConnectionError:
                return LOST
            idle.append(connection)
        if reply.status != 200:
            assert reply.status == 429 and int(reply.headers[b"retry-after"]) > 0
            return f"{REFUSED}{reply.status}"
        given = orjson.loads(reply.body)["predictions"]
        return answers.verdict(numbers, [(each["model"]["version"], each["label"], each["score"]) for each in given])

    async def close() -> None:
        for connection in idle:
            connection.leave()

    return ask, close


async def _grpc_batches(server: ServerProcess) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[None]]]:
    """Return a gRPC request of 32 reviews, and a function that closes its connections."""
    answers = shipped_answers()
    numbers = list(range(_BATCH))
    message = PredictBatchRequest(texts=[answers.texts[number] for number in numbers])
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=options) for _ in range(4)]
    stubs: list[Any] = [SentimentStub(channel) for channel in channels]
    chance = random.Random(0)

    async def ask() -> str:
        try:
            given = (await chance.choice(stubs).PredictBatch(message)).predictions
        except grpc.aio.AioRpcError as error:
            return f"{REFUSED}{error.code().name}"
        return answers.verdict(numbers, [(each.version, each.label, each.score) for each in given])

    async def close() -> None:
        for channel in channels:
            await channel.close()

    return ask, close
