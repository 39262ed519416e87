"""Shutdowns with many requests in flight over REST, gRPC and streams."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable
from time import perf_counter
from typing import Any

import grpc
import orjson

from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest, PredictRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.faults.http import Connection, post
from tests.faults.load import call_outcome
from tests.faults.report import Report, check, until_begun
from tests.faults.services import shipped_answers
from tests.faults.tally import LOST, REFUSED, RIGHT, Tally
from tests.processes import PATIENCE, ServerProcess

_REQUESTS = 64

#: Messages of a stream.
_MESSAGES = 50


async def terminated(short: bool) -> Report:
    """(e) SIGTERM with 64 requests over REST, gRPC and streams: all are answered, then exit 0."""
    report = await _terminate(256, "--shutdown-timeout", "3600")
    check(report.tally)
    assert report.tally.counts[RIGHT] == _REQUESTS
    return report


async def rejected(short: bool) -> Report:
    """(e) SIGTERM with more work than the shutdown timeout allows: the rest gets 503 or UNAVAILABLE, then exit 0."""
    for _ in range(3):
        report = await _terminate(1024, "--shutdown-timeout", "0")
        if not report.tally.counts[LOST]:  # a worker that gets no processor time has too little time for its answers
            break
    check(report.tally, refused=True, answered=False)
    assert report.tally.refused
    assert report.tally.counts.keys() <= {RIGHT, f"{REFUSED}503", f"{REFUSED}UNAVAILABLE"}
    return report


async def _terminate(batch: int, *flags: str) -> Report:
    """Send SIGTERM to a service that has begun all requests, of `batch` reviews except for the streams."""
    tally = Tally()
    answers = shipped_answers()
    room = ["--max-batch-texts", str(batch), "--max-pending-texts", str(_REQUESTS * batch)]
    room += ["--max-buffered-bytes", str(2**31)]
    with ServerProcess("--workers", "2", *room, *flags) as server:
        many = [number % len(answers.texts) for number in range(batch)]
        few = [number % len(answers.texts) for number in range(_MESSAGES)]
        texts = [answers.texts[number] for number in many]
        request = post("/v1/predict_batch", orjson.dumps({"texts": texts}))
        begun = asyncio.Semaphore(0)  # streams whose messages are all sent, and the first one is answered

        async def rest() -> str:
            connection = await Connection.to(server.port)
            try:
                reply = await connection.ask(request)
            except ConnectionError:
                return LOST
            if reply.status != 200:
                assert int(reply.headers[b"retry-after"]) > 0
                return f"{REFUSED}{reply.status}"
            given = orjson.loads(reply.body)["predictions"]
            return answers.verdict(many, [(e["model"]["version"], e["label"], e["score"]) for e in given])

        async def call() -> str:
            try:
                given = (await stub.PredictBatch(PredictBatchRequest(texts=texts))).predictions
            except grpc.aio.AioRpcError as error:
                return call_outcome(error.code(), error.trailing_metadata())
            return answers.verdict(many, [(each.version, each.label, each.score) for each in given])

        async def stream() -> str:
            messages = stub.PredictStream()
            try:
                try:
                    for number in few:
                        await messages.write(PredictRequest(text=answers.texts[number]))
                    given = [await messages.read()]
                finally:
                    begun.release()
                given += [await messages.read() for _ in few[1:]]
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                given = []
            # It stays open until the server ends it.
            ended = call_outcome(await messages.code(), await messages.trailing_metadata())
            if grpc.aio.EOF in given or not given:
                return ended
            assert ended == f"{REFUSED}UNAVAILABLE"
            return answers.verdict(few, [(each.version, each.label, each.score) for each in given])

        async def timed(work: Awaitable[str]) -> None:
            started = perf_counter()
            tally.add(await work, perf_counter() - started)

        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            stub: Any = SentimentStub(channel)
            await channel.channel_ready()
            async with asyncio.TaskGroup() as group:
                for kind in (rest, call, rest, stream) * (_REQUESTS // 4):
                    group.create_task(timed(kind()))
                flying = await until_begun(server, _REQUESTS // 2)
                for _ in range(_REQUESTS // 4):  # the other calls have begun before the streams, on the same connection
                    await begun.acquire()
                server.process.send_signal(signal.SIGTERM)
                told = perf_counter()
        status = await asyncio.to_thread(server.process.wait, PATIENCE)
        took = perf_counter() - told
        assert status == 0
    return Report(
        tally,
        [f"{flying:.0f} in flight at SIGTERM, exit {status} after {took:.2f} s"],
    )
