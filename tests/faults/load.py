"""A steady load over REST and gRPC. Every answer is compared with the model's."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, NamedTuple

import grpc
import orjson

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest, PredictRequest
from sentiment_conv1d.server.request_ids import HEADER
from sentiment_conv1d.stubs import SentimentStub
from tests.faults.http import Connection, Reply, post
from tests.faults.tally import LEFT, LOST, REFUSED, RIGHT, WRONG, Tally

_OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


#: The callers of a load by default. Each has one request in flight.
CALLERS = 14


class Answers(NamedTuple):
    """Texts, and the expected answers by version."""

    texts: Sequence[str]
    by_version: dict[str, Sequence[Prediction]]

    def verdict(self, numbers: Sequence[int], given: Sequence[tuple[str, str, float]]) -> str:
        """Whether answers (version, label, score) are right for the texts with these numbers, all by one version."""
        versions = {version for version, _, _ in given}
        if len(given) != len(numbers) or len(versions) != 1 or not versions <= self.by_version.keys():
            return WRONG
        right = [self.by_version[given[0][0]][number] for number in numbers]
        close = (
            label == each.label and abs(score - each.score) < 1e-5
            for (_, label, score), each in zip(given, right, strict=True)
        )
        return RIGHT if all(close) else WRONG


class Load:
    """Callers of a server. Each sends a request, checks the answer, and continues after a short pause.

    `leaving` is the share of requests whose caller disconnects at once.
    """

    def __init__(self, port: int, grpc_port: int, answers: Answers, *, pause: float = 0.02, leaving: float = 0) -> None:
        self.tally = Tally()
        self._port = port
        self._grpc_target = f"127.0.0.1:{grpc_port}"
        self._answers = answers
        self._pause = pause
        self._leaving = leaving
        self._chance = random.Random(0)
        self._ids = itertools.count()
        self._began = perf_counter()
        self._ending = False
        self._grown = asyncio.Condition()

    @asynccontextmanager
    async def running(self, *, rest: int = 8, calls: int = 4, streams: int = 2) -> AsyncIterator[None]:
        """Run callers of each kind until the end of the block and their last answers."""
        async with asyncio.TaskGroup() as group:
            for _ in range(rest):
                group.create_task(self._rest())
            for _ in range(calls):
                group.create_task(self._calls())
            for _ in range(streams):
                group.create_task(self._streams())
            try:
                yield
            finally:
                self._ending = True

    async def go_on(self, requests: int) -> None:
        """Wait until `requests` further requests have ended."""
        wanted = self.tally.counts.total() + requests
        async with self._grown:
            await self._grown.wait_for(lambda: self.tally.counts.total() >= wanted)

    @property
    def moment(self) -> float:
        """Seconds since the load began."""
        return perf_counter() - self._began

    async def _note(self, kind: str, outcome: str, started: float) -> None:
        ended = perf_counter()
        name = f"{kind} {next(self._ids)}, sent at {started - self._began:.3f} s, gone at {ended - self._began:.3f} s"
        self.tally.add(outcome, ended - started, name)
        async with self._grown:
            self._grown.notify_all()
        await asyncio.sleep(self._pause * self._chance.uniform(0.5, 1.5))

    def _choose(self) -> list[int]:
        """Choose mostly one text, sometimes a few, and sometimes enough for the thread."""
        count = self._chance.choice((1, 1, 1, 1, 4, 40))
        return [self._chance.randrange(len(self._answers.texts)) for _ in range(count)]

    def _leaves(self) -> bool:
        return self._chance.random() < self._leaving

    async def _rest(self) -> None:
        connection: Connection | None = None
        while not self._ending:
            numbers = self._choose()
            texts = [self._answers.texts[number] for number in numbers]
            if len(texts) == 1:
                request = post("/v1/predict", orjson.dumps({"text": texts[0]}))
            else:
                request = post("/v1/predict_batch", orjson.dumps({"texts": texts}))
            started = perf_counter()
            try:
                if connection is None or not connection.open:
                    connection = await Connection.to(self._port)
                if self._leaves():
                    connection.send(request)
                    await asyncio.sleep(self._chance.choice((0, 0.001)))
                    connection.leave()
                    outcome = LEFT
                else:
                    outcome = self._judge(numbers, await connection.ask(request))
            except ConnectionAbortedError:
                continue  # closed while idle: nothing was sent
            except OSError:
                outcome = LOST
            await self._note("REST request", outcome, started)
        if connection is not None:
            connection.leave()

    def _judge(self, numbers: Sequence[int], reply: Reply) -> str:
        if reply.status != 200:
            return f"{REFUSED}{reply.status}"
        document = orjson.loads(reply.body)
        given = document.get("predictions", [document])
        return self._answers.verdict(
            numbers, [(each["model"]["version"], each["label"], each["score"]) for each in given]
        )

    async def _calls(self) -> None:
        async with grpc.aio.insecure_channel(self._grpc_target, options=_OPTIONS) as channel:
            stub: Any = SentimentStub(channel)
            while not self._ending:
                numbers = self._choose()
                started = perf_counter()
                outcome = await self._call(stub, numbers)
                await self._note("gRPC call", outcome, started)

    async def _call(self, stub: Any, numbers: Sequence[int]) -> str:
        texts = [self._answers.texts[number] for number in numbers]
        call = stub.PredictBatch(PredictBatchRequest(texts=texts), wait_for_ready=True)
        if self._leaves():
            await asyncio.sleep(self._chance.choice((0, 0.001)))
            call.cancel()
            return LEFT
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            return call_outcome(error.code(), error.trailing_metadata())
        return self._answers.verdict(numbers, [(each.version, each.label, each.score) for each in answer.predictions])

    async def _streams(self) -> None:
        """Open one stream after the other, with a few messages each."""
        async with grpc.aio.insecure_channel(self._grpc_target, options=_OPTIONS) as channel:
            stub: Any = SentimentStub(channel)
            while not self._ending:
                stream = stub.PredictStream(wait_for_ready=True)
                for _ in range(20):
                    number = self._chance.randrange(len(self._answers.texts))
                    started = perf_counter()
                    try:
                        await stream.write(PredictRequest(text=self._answers.texts[number]))
                        if self._leaves():
                            stream.cancel()
                            await self._note("gRPC message", LEFT, started)
                            break
                        each = await stream.read()
                        outcome = self._answers.verdict([number], [(each.version, each.label, each.score)])
                    except grpc.aio.AioRpcError as error:
                        outcome = call_outcome(error.code(), error.trailing_metadata())
                    except asyncio.InvalidStateError:  # the stream has ended; reading reports how
                        outcome = call_outcome(await stream.code(), await stream.trailing_metadata())
                    await self._note("gRPC message", outcome, started)
                    if outcome != RIGHT or self._ending:
                        break
                stream.cancel()


def call_outcome(code: grpc.StatusCode, metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Return the outcome of a call without an answer. Errors of the service have a request id."""
    if HEADER.decode() not in dict(metadata or ()):
        return LOST
    return f"{REFUSED}{code.name}"
