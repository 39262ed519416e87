"""`python -m benchmarks.costs`: the cost per request of metrics, request ids, limits and logs, each removed in turn.

One process calls the REST application without a network, to measure only the application.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import uvloop
from uvicorn.protocols.http.flow_control import FlowControl

from benchmarks import ARTIFACT
from benchmarks.markdown import circumstances, table
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.server.http.fast_path import FastRequest, Handler
from sentiment_conv1d.server.network.buffers import Buffers, Charge
from sentiment_conv1d.service.process.server import load_core
from sentiment_conv1d.service.protocols import rest_protocols
from sentiment_conv1d.service.rest import lifecycle
from sentiment_conv1d.service.rest.app import Application
from sentiment_conv1d.service.scheduling.dataplane import DataPlane
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry import logs
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.service.telemetry.statistics import Statistics

_BUFFERS = Buffers(1 << 40)
_HEADERS = {b"host": b"localhost:8000", b"content-type": b"application/json"}


@contextmanager
def without(*methods: tuple[Any, str, Callable[..., Any]]) -> Iterator[None]:
    """Replace methods, or functions of modules, with others that do less."""
    patches = [patch.object(owner, name, other) for owner, name, other in methods]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def nothing(*arguments: Any, **keywords: Any) -> None:
    """Do nothing, in place of a removed method."""


#: The name of the unchanged application.
BASE = "as it is, without a network"

#: The removed parts, by name.
PARTS: dict[str, tuple[tuple[Any, str, Callable[..., Any]], ...]] = {
    "metrics of requests": ((Metrics, "began", nothing), (Metrics, "ended", nothing)),
    "metrics of models": tuple((Statistics, name, nothing) for name in ("count_soon", "ran")),
    "request ids": ((lifecycle, "choose_id", lambda given: "0123456789abcdef"),),
    "limits": ((DataPlane, "_characters", lambda plane, rows: 0),),
}


def asked(body: bytes, handler: Handler, replied: asyncio.Event) -> FastRequest:
    """Return a request that has arrived completely. Its response is discarded."""

    class Discard(asyncio.Transport):
        def is_closing(self) -> bool:
            return False

        def write(self, data: Any) -> None:
            assert data.startswith(b"HTTP/1.1 200 OK\r\n")

    transport = Discard()
    connection: Any = SimpleNamespace(
        transport=transport,
        flow=FlowControl(transport),
        common_lines=bytes,
        is_last=bool,
        replied=lambda request: replied.set(),
    )
    request = FastRequest(
        "POST", b"/v1/predict", _HEADERS, "127.0.0.1", False, Charge(_BUFFERS), handler, connection, True
    )
    request.add(body)
    return request


async def drive(application: Application, bodies: Sequence[bytes]) -> float:
    """Return the seconds per request. Requests run one after the other."""
    handler = application.find_handler(b"/v1/predict", {b"content-length": b"0"}, Charge(_BUFFERS))
    assert handler is not None
    replied = asyncio.Event()
    requests = [asked(body, handler, replied) for body in bodies]
    started = perf_counter()
    for request in requests:
        if (sending := handler(request)) is None:
            await replied.wait()
            replied.clear()
        else:
            await sending
    return (perf_counter() - started) / len(bodies)


async def measure(bodies: Sequence[bytes], rounds: int) -> dict[str, list[float]]:
    """Return the seconds per request in every round: unchanged, and with each part removed or added."""
    settings = (Settings(access_log=on) for on in (False, True))
    plain, logging_all = (Application(load_core(each).start(0), rest_protocols(each)) for each in settings)
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        seconds.setdefault(BASE, []).append(await drive(plain, bodies))
        for name, methods in PARTS.items():
            with without(*methods):
                seconds.setdefault(f"without {name}", []).append(await drive(plain, bodies))
        seconds.setdefault("with the access log", []).append(await drive(logging_all, bodies))
    return seconds


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=500, help="texts (default: 500)")
    options = parser.parse_args()
    with Path("/dev/null").open("w") as sink:
        handler = logging.StreamHandler(sink)
        handler.setFormatter(logs.JsonFormatter())
        logging.basicConfig(level="INFO", handlers=[handler])
        whole = texts.generate(read_artifact(ARTIFACT).tokenizer, options.count)
        kinds = {"whole": whole, "20 words": texts.shorten(whole)}
        columns = [
            uvloop.run(measure([json.dumps({"text": text}).encode() for text in each], options.rounds))
            for each in kinds.values()
        ]
    print(circumstances())
    print(f"Median differences of {options.rounds} rounds of {options.count} texts.\n")
    rows = [[name, *(_cell(name, column) for column in columns)] for name in columns[0]]
    print(table(["µs per request", *kinds], rows))


def _cell(name: str, seconds: dict[str, list[float]]) -> str:
    """Return the median of the unchanged application, or that of the differences to it in each round."""
    base = seconds[BASE]
    if name == BASE:
        return f"{median(base) * 1e6:.1f}"
    return f"{median(value - other for value, other in zip(seconds[name], base, strict=True)) * 1e6:+.1f}"


if __name__ == "__main__":
    main()
