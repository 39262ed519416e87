"""Load over REST with wrk, which uses little of the cores that it shares with the server."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmarks import wrk
from loadtest.errors import LoadTestError
from loadtest.processes import Server


class Load(NamedTuple):
    """The results of one run of a load generator."""

    rate: float  # texts per second
    p50: float  # seconds per request
    p99: float  # seconds per request
    cpu: float  # seconds of the server's processor time per text
    errors: int  # responses other than 2xx, broken connections, and timeouts of 2 s


class Form(NamedTuple):
    """A route, and the body of a request with texts."""

    path: str
    body: Callable[[Sequence[str]], Any]
    texts: int = 1  # per request


PREDICT = Form("/v1/predict", lambda texts: {"text": texts[0]})
INFER = Form(
    "/v2/models/imdb-cnn/infer",
    lambda texts: {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}]},
)


def batch(texts: int) -> Form:
    """Return `/v1/predict_batch` with so many texts."""
    return Form("/v1/predict_batch", lambda texts: {"texts": list(texts)}, texts)


class Script:
    """A script for wrk that sends requests of one form with texts in turn."""

    def __init__(self, form: Form, texts: Sequence[str]) -> None:
        self.texts = form.texts
        starts = range(0, len(texts) - form.texts + 1, form.texts)
        bodies = [json.dumps(form.body(texts[start : start + form.texts])).encode() for start in starts]
        self.wrk = wrk.Script(form.path, bodies)


def run(server: Server, script: Script, connections: int, seconds: int) -> Load:
    """Send requests in a closed loop. The connections are distributed evenly over the server's ports.

    Raises `LoadTestError` if no response arrives.
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
    """Send requests over one connection in a closed loop, until the end of the block."""
    process = subprocess.Popen(script.wrk.command(_url(server), 1, 3600), stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def require() -> None:
    """Exit with a message if wrk is not installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed: apt-get install wrk")


def _url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"
