"""`python -m benchmarks.overload`: answers and rejections above the capacity of one worker, in two tables.

The first one is over the number of callers. They send batches of 32 reviews in a closed loop, and retry at once when
they are rejected. Over REST, each has a connection. Over gRPC, up to 64 share one. The server counts answers and
rejections, because load generators cannot see the status of a call. In every round, the answers are divided by those to
16 callers just before, because the speed of a shared machine changes from one minute to the next. The second one is at
twice the capacity: gRPC calls with such batches arrive at random times on one connection, and a short review now and
then.

The callers run on the same cores as the server.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import subprocess
import tempfile
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import grpc
import numpy as np
import orjson

from benchmarks import ARTIFACT
from benchmarks.markdown import circumstances, table
from loadtest.measurement import saturation
from loadtest.processes import Server
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest, PredictRequest

#: Reviews per request.
BATCH = 32

#: Calls in flight per gRPC connection.
_STREAMS = 64

_REST, _GRPC = "/v1/predict_batch", "/sentiment.v1.Sentiment/PredictBatch"
_SMALL = "/sentiment.v1.Sentiment/Predict"

#: Of the calls on one connection: those at the capacity, their deadline, and the time between two short ones.
_CAPACITY_CALLERS = 16
_DEADLINE_SECONDS = 15
_SMALL_SECONDS = 0.05

_COUNTED = re.compile(r"^sentiment_requests_total\{(.*)\} (\S+)$", re.MULTILINE)
_OUTCOMES = {"200": "answered", "OK": "answered", "429": "refused", "RESOURCE_EXHAUSTED": "refused"}


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--callers", type=int, nargs="+", default=[64, 256, 800, 2000])
    options.add_argument("--seconds", type=int, default=4)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    for program in ("wrk", "h2load"):
        if saturation.find(program) is None:
            raise SystemExit(f"{program} is needed: apt-get install wrk nghttp2-client")

    artifact = read_artifact(ARTIFACT)
    reviews = texts.generate(artifact.tokenizer, BATCH)
    body = orjson.dumps({"texts": reviews})
    call = PredictBatchRequest(texts=reviews).SerializeToString()
    arguments = ("-m", "service", "serve", "--workers", "1", "--port", "{port}", "--grpc-port", "{grpc_port}")
    repository = ("--model-repository", str(ARTIFACT.parent.parent), "--default-model", artifact.manifest.name)
    rows = []
    with Server("service", *arguments, *repository, probe="/readyz") as server:
        loads = {_REST: partial(_wrk, server, body), _GRPC: partial(_h2load, server, call)}
        for callers in chosen.callers:
            row = [f"{callers:,}"]
            for route, load in loads.items():
                rounds = [_round(server, route, load, callers, chosen.seconds) for _ in range(chosen.rounds)]
                answers, refusals, part = np.median(rounds, axis=0)
                row += [f"{answers:,.0f}", f"{part:.2f}", f"{refusals:,.0f}"]
            rows.append(row)
        above = asyncio.run(_above_capacity(server, call, chosen.seconds))
    head = ("answers/s", f"divided by those to {_CAPACITY_CALLERS}", "rejections/s")
    print(table(("callers", *(f"{protocol}: {what}" for protocol in ("REST", "gRPC") for what in head)), rows))
    print("\n" + table(("gRPC at twice the capacity", "per second", "median", "p99"), above))
    print(circumstances())


def _round(
    server: Server, route: str, load: Callable[[int, int], object], callers: int, seconds: int
) -> tuple[float, float, float]:
    """Return the answers and refusals per second under a load, and the answers divided by those at the capacity."""
    capacity, _ = _rates(server, route, seconds, partial(load, _CAPACITY_CALLERS, seconds))
    answers, refusals = _rates(server, route, seconds, partial(load, callers, seconds))
    return answers, refusals, answers / capacity


def _rates(server: Server, route: str, seconds: int, load: Callable[[], object]) -> tuple[float, float]:
    """Return the answers and refusals per second of a route under a load."""
    before = _counts(server, route)
    load()
    counts = _counts(server, route) - before
    return counts["answered"] / seconds, counts["refused"] / seconds


def _counts(server: Server, route: str) -> Counter[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=60) as answer:
        exposition = answer.read().decode()
    counts: Counter[str] = Counter()
    for labels, value in _COUNTED.findall(exposition):
        if f'route="{route}"' in labels:
            status = re.findall('status="([^"]*)"', labels)[0]
            counts[_OUTCOMES.get(status, status)] += int(float(value))
    return counts


def _wrk(server: Server, body: bytes, callers: int, seconds: int) -> None:
    saturation.Script(_REST, [body]).run(f"http://127.0.0.1:{server.port}", callers, seconds)


def _h2load(server: Server, call: bytes, callers: int, seconds: int) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\0" + len(call).to_bytes(4) + call)
        file.flush()
        streams = min(callers, _STREAMS)
        load = (f"--duration={seconds}", f"--clients={callers // streams}", f"--max-concurrent-streams={streams}")
        headers = ("-H", "content-type: application/grpc", "-H", "te: trailers")
        url = f"http://127.0.0.1:{server.grpc_port}{_GRPC}"
        subprocess.run(
            [str(saturation.find("h2load")), *load, *headers, f"--data={file.name}", url],
            stdout=subprocess.DEVNULL,
            check=True,
        )


async def _above_capacity(server: Server, batch: bytes, seconds: int) -> list[tuple[str, ...]]:
    """Return a row for the answers at the capacity, and for each outcome at twice as many calls per second."""
    small = PredictRequest(text="A quiet film. The ending is good.").SerializeToString()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        found: defaultdict[str, list[float]] = defaultdict(list)

        async def ask(path: str, message: Any, due: float, name: str) -> None:
            try:
                await channel.unary_unary(path)(message, timeout=_DEADLINE_SECONDS)
                outcome = f"{name}: answers"
            except grpc.aio.AioRpcError as error:
                outcome = f"{name}: {error.code().name}"
            found[outcome].append(perf_counter() - due)

        async def repeat(until: float) -> None:
            while (now := perf_counter()) < until:
                await ask(_GRPC, batch, now, "at the capacity")

        async with asyncio.TaskGroup() as callers:
            for _ in range(_CAPACITY_CALLERS):
                callers.create_task(repeat(perf_counter() + seconds))
        rate = 2 * len(found["at the capacity: answers"]) / seconds

        chance, due, next_small = random.Random(0), perf_counter(), perf_counter()
        end = due + 3 * seconds
        async with asyncio.TaskGroup() as calls:
            while due < end:
                now = perf_counter()
                while due <= now:
                    calls.create_task(ask(_GRPC, batch, due, "batches"))
                    due += chance.expovariate(rate)
                if next_small <= now:
                    calls.create_task(ask(_SMALL, small, now, "one short review"))
                    next_small = now + _SMALL_SECONDS
                await asyncio.sleep(min(due, next_small) - now)
    rows: list[tuple[str, ...]] = []
    for outcome, latencies in found.items():
        median, last = (f"{1000 * value:,.0f} ms" for value in np.percentile(latencies, (50, 99)))
        during = seconds if outcome.startswith("at the capacity") else 3 * seconds
        rows.append((outcome, f"{len(latencies) / during:,.0f}", median, last))
    return rows


if __name__ == "__main__":
    main()
