"""The load of REST: wrk, which takes little of the cores that it shares with the server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from loadtest.errors import LoadTestError
from loadtest.measurement import saturation
from loadtest.processes import Server


class Load(NamedTuple):
    """What one run of a generator saw."""

    rate: float  # texts a second
    p50: float  # seconds a request
    p99: float  # seconds a request
    cpu: float  # seconds of the server's processor time a text
    errors: int  # answers other than 2xx, and connections that broke or waited for more than 2 s


class Form(NamedTuple):
    """A route, and how texts are put for it."""

    path: str
    body: Callable[[Sequence[str]], Any]
    texts: int = 1  # of one request


PREDICT = Form("/v1/predict", lambda texts: {"text": texts[0]})
INFER = Form(
    "/v2/models/imdb-cnn/infer",
    lambda texts: {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}]},
)


def batch(texts: int) -> Form:
    """`/v1/predict_batch` with that many texts."""
    return Form("/v1/predict_batch", lambda texts: {"texts": list(texts)}, texts)


class Script:
    """Has wrk send requests of one form with texts in turn."""

    def __init__(self, form: Form, texts: Sequence[str]) -> None:
        self.texts = form.texts
        starts = range(0, len(texts) - form.texts + 1, form.texts)
        bodies = [json.dumps(form.body(texts[start : start + form.texts])).encode() for start in starts]
        self.wrk = saturation.Script(form.path, bodies)


def run(server: Server, script: Script, connections: int, seconds: int) -> Load:
    """Send as fast as answers come back, over so many connections, which are shared out evenly over the server's ports.

    Raises `LoadTestError` if no answer comes back.
    """
    before = server.cpu_seconds()
    answers = script.wrk.run(_url(server), connections, seconds, server.ports)
    cpu = server.cpu_seconds() - before
    if answers is None:
        raise LoadTestError(f"{server.name} answered nothing in {seconds} s\n{server.log()}")
    return Load(
        rate=answers.throughput * script.texts,
        p50=answers.p50,
        p99=answers.p99,
        cpu=cpu / (answers.requests * script.texts),
        errors=answers.failed,
    )


@contextmanager
def meanwhile(server: Server, script: Script) -> Iterator[None]:
    """One connection that sends without pause from `with` to the end of the block."""
    process = subprocess.Popen(script.wrk.command(_url(server), 1, 3600), stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def require() -> None:
    """Exit with a message if wrk is not installed."""
    if saturation.find("wrk") is None:
        raise SystemExit("wrk is needed: apt-get install wrk")


def _url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"
