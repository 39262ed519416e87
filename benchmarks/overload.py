"""`python -m benchmarks.overload`: answers and rejections above the capacity of one worker, in two tables.

The first one is over the number of callers. They send batches of 32 reviews in a closed loop, and retry at once when
they are rejected. Over REST, each has a connection. Over gRPC, up to 64 share one. The server counts answers and
rejections, because load generators cannot see the status of a call. In every round, the answers are divided by those to
16 callers just before, because the speed of a shared machine changes from one minute to the next.

The second one is at twice the capacity that 4 callers reach just before: gRPC calls of 43 kB arrive at random times on
one connection, and a short review now and then. The same bytes are more or fewer texts, so that the capacity differs.
`--against` measures another checkout in turn, with the same model.

The callers run on the same cores as the server.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from benchmarks import ARTIFACT, wrk
from benchmarks.markdown import circumstances, number, show, table
from benchmarks.one_connection import Connection, Request, Sample
from loadtest.processes import PROJECT, Server
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest, PredictRequest

#: Reviews per request.
BATCH = 32

#: Calls in flight per gRPC connection.
_STREAMS = 64

_REST, _GRPC = "/v1/predict_batch", "/sentiment.v1.Sentiment/PredictBatch"
_SMALL = "/sentiment.v1.Sentiment/Predict"

#: The callers that reach the capacity without a rejection.
_CAPACITY_CALLERS = 16

#: Of the calls on one connection: the callers at the capacity, their seconds, and those between two short reviews.
_CONNECTION_CALLERS = 4
_CAPACITY_SECONDS = 3.0
_SMALL_SECONDS = 0.05

_COUNTED = re.compile(r"^sentiment_requests_total\{(.*)\} (\S+)$", re.MULTILINE)
_OUTCOMES = {"200": "answered", "OK": "answered", "429": "refused", "RESOURCE_EXHAUSTED": "refused"}


def main() -> None:
    """Measure and print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--callers", type=int, nargs="*", default=[64, 256, 800, 2000])
    options.add_argument("--seconds", type=int, default=4, help="of each number of callers")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--texts", type=int, nargs="*", default=[64, 128, 512], help="of the calls on one connection")
    options.add_argument("--one-connection-seconds", type=float, default=20.0)
    options.add_argument("--against", type=Path, help="another checkout, with compiled native code")
    chosen = options.parse_args()
    for program in ("wrk", "h2load"):
        if chosen.callers and shutil.which(program) is None:
            raise SystemExit(f"{program} is needed: apt-get install wrk nghttp2-client")

    reviews = texts.generate(read_artifact(ARTIFACT).tokenizer, BATCH)
    sides = {"this checkout": PROJECT} | ({"the other one": chosen.against.resolve()} if chosen.against else {})
    if chosen.callers:
        rows = [row for count in chosen.callers for row in _callers(sides, reviews, count, chosen)]
        head = ("answers/s", f"divided by those to {_CAPACITY_CALLERS}", "rejections/s")
        columns = ("callers", "side", *(f"{protocol}: {what}" for protocol in ("REST", "gRPC") for what in head))
        print(table(columns, rows), flush=True)
    if chosen.texts:
        measured = [row for count in chosen.texts for row in _one_connection(sides, reviews, count, chosen)]
        print("\n" + table(("texts per call", "side", *_COLUMNS), measured))
    print("\n" + circumstances())


def _server(folder: Path) -> Server:
    arguments = ("-m", "service", "serve", "--workers", "1", "--port", "{port}", "--grpc-port", "{grpc_port}")
    repository = ("--model-repository", str(ARTIFACT.parent.parent), "--default-model", ARTIFACT.parent.name)
    return Server("service", *arguments, *repository, probe="/readyz", folder=folder)


def _callers(
    sides: Mapping[str, Path], reviews: list[str], callers: int, chosen: argparse.Namespace
) -> list[tuple[str, ...]]:
    """Return a row for each side: answers and rejections to so many callers that retry at once."""
    body, call = orjson.dumps({"texts": reviews}), PredictBatchRequest(texts=reviews).SerializeToString()
    found: defaultdict[str, list[list[float]]] = defaultdict(list)
    for turn in range(chosen.rounds):
        for side, folder in sides.items():
            show(f"{callers} callers, {side}, round {turn + 1}")
            with _server(folder) as server:
                loads = {_REST: partial(_wrk, server, body), _GRPC: partial(_h2load, server, call)}
                rates = [_round(server, route, load, callers, chosen.seconds) for route, load in loads.items()]
            found[side].append([value for each in rates for value in each])
    rows = []
    for side, rounds in found.items():
        formats = ("{:,.0f}", "{:.2f}", "{:,.0f}") * 2
        values = [form.format(value) for form, value in zip(formats, np.median(rounds, axis=0), strict=True)]
        rows.append((f"{callers:,}", side, *values))
    return rows


def _round(
    server: Server, route: str, load: Callable[[int, int], object], callers: int, seconds: int
) -> tuple[float, float, float]:
    """Return the answers per second under a load, divided by those at the capacity, and the refusals per second."""
    capacity, _ = _rates(server, route, seconds, partial(load, _CAPACITY_CALLERS, seconds))
    answers, refusals = _rates(server, route, seconds, partial(load, callers, seconds))
    return answers, answers / capacity, refusals


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
    wrk.Script(_REST, [body]).run(f"http://127.0.0.1:{server.port}", callers, seconds)


def _h2load(server: Server, call: bytes, callers: int, seconds: int) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\0" + len(call).to_bytes(4) + call)
        file.flush()
        streams = min(callers, _STREAMS)
        load = (f"--duration={seconds}", f"--clients={callers // streams}", f"--max-concurrent-streams={streams}")
        headers = ("-H", "content-type: application/grpc", "-H", "te: trailers")
        url = f"http://127.0.0.1:{server.grpc_port}{_GRPC}"
        subprocess.run(
            [str(shutil.which("h2load")), *load, *headers, f"--data={file.name}", url],
            stdout=subprocess.DEVNULL,
            check=True,
        )


class OneConnection(NamedTuple):
    """The results at twice the capacity on one connection. Times are in milliseconds unless their name says else."""

    capacity: float  # answers per second
    answers: float  # per second
    rejections: float  # per second
    refusal_us: float  # processor time of the service
    answered_in: float
    rejected_in: float
    small_in: float
    first_wait: float  # for a stream, in the first half of the time
    last_wait: float  # and in the last quarter
    others: float  # calls with another status
    generator: float  # cores


_COLUMNS = (
    *("capacity/s", "answers/s", "rejections/s", "µs a rejection", "answer, ms", "rejection, ms", "short review, ms"),
    *("wait for a stream: first half, ms", "last quarter, ms", "other statuses", "generator, cores"),
)


def _one_connection(
    sides: Mapping[str, Path], reviews: list[str], count: int, chosen: argparse.Namespace
) -> list[tuple[str, ...]]:
    """Return a row for each side: medians of the rounds at twice the capacity, with so many texts in a call."""
    joined = " ".join(reviews)
    size = len(joined) // count
    batch = PredictBatchRequest(texts=[joined[at * size : (at + 1) * size] for at in range(count)])
    large = Request.of("large", _GRPC, batch.SerializeToString())
    small = Request.of("small", _SMALL, PredictRequest(text="A quiet film. The ending is good.").SerializeToString())
    found: defaultdict[str, list[OneConnection]] = defaultdict(list)
    for turn in range(chosen.rounds):
        for side, folder in sides.items():
            show(f"{count} texts a call, {side}, round {turn + 1}")
            with _server(folder) as server:
                found[side].append(_above_capacity(server, large, small, chosen.one_connection_seconds))
    return [(str(count), side, *map(number, np.median(rounds, axis=0))) for side, rounds in found.items()]


def _above_capacity(server: Server, large: Request, small: Request, seconds: float) -> OneConnection:
    """Measure the capacity of a connection, and then what calls get that come twice as often."""
    connection = Connection(server.grpc_port)
    try:
        capacity, answer_cost = _capacity(server, connection, large)
        cpu, own = server.cpu_seconds(), time.process_time()
        started = time.perf_counter()
        _send(connection, large, small, 2 * capacity, started + seconds)
        cpu, own = server.cpu_seconds() - cpu, time.process_time() - own
        lasted = time.perf_counter() - started
    finally:
        connection.close()
    every = connection.ended
    answered = [each for each in every if each.answered and each.request is large]
    refused = [each for each in every if not each.answered and each.request is large]
    others = [each for each in every if each.outcome() not in ("OK", "RESOURCE_EXHAUSTED")]
    waits = [(each.due - started, each.sent - each.due) for each in every if each.request is large]
    return OneConnection(
        capacity,
        len(answered) / lasted,
        len(refused) / lasted,
        1e6 * (cpu - len(answered) * answer_cost) / max(1, len(refused)),
        _median_ms(each.ended - each.due for each in answered),
        _median_ms(each.ended - each.due for each in refused),
        _median_ms(each.ended - each.due for each in every if each.request is small),
        _median_ms(wait for at, wait in waits if at < seconds / 2),
        _median_ms(wait for at, wait in waits if at > 3 / 4 * seconds),
        len(others),
        own / lasted,
    )


def _median_ms(seconds: Iterable[float]) -> float:
    return 1000 * float(np.median([*seconds]))


def _capacity(server: Server, connection: Connection, request: Request) -> tuple[float, float]:
    """Return the answers per second to a few callers, and the processor seconds of one."""
    for seconds in (1.0, _CAPACITY_SECONDS):  # the first one warms up
        connection.ended.clear()
        started, cpu = time.perf_counter(), server.cpu_seconds()
        while (now := time.perf_counter()) < started + seconds:
            for _ in range(_CONNECTION_CALLERS - connection.open):
                connection.add(Sample(request, now))
            connection.run(started + seconds)
        lasted, cpu = time.perf_counter() - started, server.cpu_seconds() - cpu
    answers = sum(each.answered for each in connection.ended)
    _finish(connection)
    connection.ended.clear()
    return answers / lasted, cpu / answers


def _send(connection: Connection, large: Request, small: Request, rate: float, end: float) -> None:
    """Send calls at random times until `end`, and wait for all answers."""
    chance = random.Random(0)
    due = next_small = time.perf_counter()
    while (now := time.perf_counter()) < end:
        while due <= now:
            connection.add(Sample(large, due))
            due += chance.expovariate(rate)
        if next_small <= now:
            connection.add(Sample(small, next_small))
            next_small += _SMALL_SECONDS
        connection.run(min(due, next_small, end))
    _finish(connection)


def _finish(connection: Connection) -> None:
    while connection.open:
        connection.run(time.perf_counter() + 1.0)


if __name__ == "__main__":
    main()
