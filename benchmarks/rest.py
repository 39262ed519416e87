"""The load of REST: wrk (https://github.com/wg/wrk), which takes little of the cores that it shares with the server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from loadtest.errors import LoadTestError
from loadtest.processes import Server

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


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
    """A file that has wrk send requests of one form with texts in turn."""

    def __init__(self, form: Form, texts: Sequence[str]) -> None:
        self.form = form
        self._file = tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8")  # noqa: SIM115
        size = form.texts
        groups = [texts[start : start + size] for start in range(0, len(texts) - size + 1, size)]
        bodies = ",\n".join(f"[========[{json.dumps(form.body(group))}]========]" for group in groups)
        self._file.write(
            f"local bodies = {{{bodies}}}\nlocal turn = 0\n"
            'local headers = {["Content-Type"] = "application/json"}\n'
            "function request()\n  turn = turn % #bodies + 1\n"
            f'  return wrk.format("POST", "{form.path}", headers, bodies[turn])\nend\n'
        )
        self._file.flush()
        self.path = Path(self._file.name)

    def command(self, server: Server, connections: int, seconds: int) -> list[str]:
        """What to run."""
        url = f"http://127.0.0.1:{server.port}"
        return ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(self.path), url]


def run(server: Server, script: Script, connections: int, seconds: int) -> Load:
    """Send as fast as answers come back, over so many connections.

    Raises `LoadTestError` where none comes back.
    """
    before = server.cpu_seconds()
    finished = subprocess.run(script.command(server, connections, seconds), capture_output=True, text=True, check=True)
    cpu = server.cpu_seconds() - before
    report = finished.stdout
    texts = int(_find(r"(\d+) requests in", report)) * script.form.texts
    if not texts:
        raise LoadTestError(f"{server.name} answered nothing in {seconds} s\n{server.log()}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", report)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", report)
    return Load(
        rate=float(_find(r"Requests/sec:\s+([\d.]+)", report)) * script.form.texts,
        p50=_seconds(_find(r"50%\s+([\d.]+\w+)", report)),
        p99=_seconds(_find(r"99%\s+([\d.]+\w+)", report)),
        cpu=cpu / texts,
        errors=sum(int(count) for found in (refused, broken) if found for count in found.groups()),
    )


@contextmanager
def meanwhile(server: Server, script: Script) -> Iterator[None]:
    """One connection that sends without pause from `with` to the end of the block."""
    process = subprocess.Popen(script.command(server, 1, 3600), stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def require() -> None:
    """Leave with a sentence where wrk is not installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed: apt-get install wrk")


def _find(pattern: str, report: str) -> str:
    found = re.search(pattern, report)
    if found is None:
        raise SystemExit(f"wrk said something unexpected:\n{report}")
    return found[1]


def _seconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]
