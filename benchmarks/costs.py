"""`python -m benchmarks.costs`: the cost per request of parts of the REST application, each removed or added in turn.

One process calls the REST application without a network, to measure only the application.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import thread_time
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import uvloop
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from benchmarks import ARTIFACT
from benchmarks.markdown import circumstances, table
from loadtest.traffic import texts
from sentiment_conv1d.artifact.artifact import read_artifact
from sentiment_conv1d.server.http.cycle import RequestCycle
from sentiment_conv1d.server.http.fast_path import FastRequest
from sentiment_conv1d.server.network.buffers import Buffers, Charge
from sentiment_conv1d.server.network.shares import LOCAL
from sentiment_conv1d.service.process.core import Core
from sentiment_conv1d.service.process.server import load_core
from sentiment_conv1d.service.protocols import rest_protocols
from sentiment_conv1d.service.rest import lifecycle
from sentiment_conv1d.service.rest.app import Application
from sentiment_conv1d.service.scheduling.dataplane import DataPlane
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry import logs, tracing
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.service.telemetry.statistics import Statistics

_BUFFERS = Buffers(1 << 40)
_ORIGIN = "https://reviews.example"
_HEADERS = {b"host": b"localhost:8000", b"content-type": b"application/json", b"origin": _ORIGIN.encode()}


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
    "metrics of models": tuple((Statistics, name, nothing) for name in ("count", "ran")),
    "request ids": ((lifecycle, "choose_id", lambda given: "0123456789abcdef"),),
    "limits": ((DataPlane, "_characters", lambda plane, rows: 0),),
}


def asked(body: bytes, replied: asyncio.Event) -> FastRequest:
    """Return a request that has arrived completely. Its response is discarded."""

    class Discard(asyncio.Transport):
        def is_closing(self) -> bool:
            return False

        def write(self, data: Any) -> None:
            assert data.startswith(b"HTTP/1.1 200 OK\r\n")

    connection: Any = SimpleNamespace(
        transport=Discard(),
        write_paused=False,
        common_lines=bytes,
        is_last=bool,
        answered=lambda close: replied.set(),
    )
    cycle = RequestCycle(connection, _BUFFERS, LOCAL, "127.0.0.1", "http", certified=False)
    cycle.head_received(b"POST", b"/v1/predict", "1.1", [*_HEADERS.items()], True, _HEADERS)
    cycle.body_received(body)
    return cycle


async def drive(application: Application, bodies: Sequence[bytes]) -> float:
    """Return the seconds of processor time per request. Requests run one after the other."""
    handler = application.find_handler(b"/v1/predict", {b"content-length": b"0"}, Charge(_BUFFERS))
    assert handler is not None
    replied = asyncio.Event()
    requests = [asked(body, replied) for body in bodies]
    started = thread_time()
    for request in requests:
        if (sending := handler(request)) is None:
            await replied.wait()
            replied.clear()
        else:
            await sending
    return (thread_time() - started) / len(bodies)


class DiscardedSpans(SpanExporter):
    """Exports nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def tracer(share: float) -> tracing.Tracer:
    """Return a tracer that samples this share of the requests, and discards their spans."""
    variables = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(share)}
    with patch.dict(os.environ, variables), patch.object(tracing, "OTLPSpanExporter", DiscardedSpans):
        return tracing.Tracer()


def application(core: Core, tracer: tracing.Tracer | None = None, **changes: Any) -> Application:
    """Return the application of a core with changed settings."""
    settings = core.settings.model_copy(update=changes)
    return Application(replace(core, settings=settings).start(0), rest_protocols(settings), tracer)


async def measure(bodies: Sequence[bytes], rounds: int) -> dict[str, list[float]]:
    """Return the seconds per request in every round: unchanged, and with each part removed or added."""
    core = load_core(Settings())
    plain = application(core)
    added = {
        "the access log": application(core, access_log=True),
        "CORS": application(core, cors_origins=_ORIGIN),
        "traces, none of them sampled": application(core, tracer(0)),
        "traces, a tenth of them sampled": application(core, tracer(0.1)),
    }
    gc.collect()
    gc.freeze()  # as a worker does
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        seconds.setdefault(BASE, []).append(await drive(plain, bodies))
        for name, methods in PARTS.items():
            with without(*methods):
                seconds.setdefault(f"without {name}", []).append(await drive(plain, bodies))
        for name, other in added.items():
            seconds.setdefault(f"with {name}", []).append(await drive(other, bodies))
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
    print(table(["µs of processor time per request", *kinds], rows))


def _cell(name: str, seconds: dict[str, list[float]]) -> str:
    """Return the median of the unchanged application, or those of the differences and ratios to it in each round."""
    base = seconds[BASE]
    if name == BASE:
        return f"{median(base) * 1e6:.1f}"
    pairs = list(zip(seconds[name], base, strict=True))
    difference, ratio = median(value - other for value, other in pairs), median(value / other for value, other in pairs)
    return f"{difference * 1e6:+.1f} ({ratio:.2f} x)"


if __name__ == "__main__":
    main()
