"""The load: wrk (https://github.com/wg/wrk), which takes little of the cores that it shares with the server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import Server

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class Load(NamedTuple):
    """What one run of the generator saw."""

    rate: float  # requests a second
    p50: float  # seconds
    p99: float  # seconds
    cpu: float  # seconds of the server's processor time a request
    errors: int


class Script:
    """A file that has wrk send texts in turn."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._file = tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8")  # noqa: SIM115
        bodies = ",\n".join(f"[========[{json.dumps({'text': text})}]========]" for text in texts)
        self._file.write(
            f"local bodies = {{{bodies}}}\nlocal turn = 0\n"
            'local headers = {["Content-Type"] = "application/json"}\n'
            "function request()\n  turn = turn % #bodies + 1\n"
            '  return wrk.format("POST", nil, headers, bodies[turn])\nend\n'
        )
        self._file.flush()
        self.path = Path(self._file.name)


def run(server: Server, script: Script, connections: int, seconds: float) -> Load:
    """Send as fast as answers come back, over so many connections."""
    before = server.cpu_seconds()
    finished = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(script.path), server.url],
        capture_output=True,
        text=True,
        check=True,
    )
    cpu = server.cpu_seconds() - before
    report = finished.stdout
    requests = int(_find(r"(\d+) requests in", report))
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", report)
    return Load(
        rate=float(_find(r"Requests/sec:\s+([\d.]+)", report)),
        p50=_seconds(_find(r"50%\s+([\d.]+\w+)", report)),
        p99=_seconds(_find(r"99%\s+([\d.]+\w+)", report)),
        cpu=cpu / requests,
        errors=int(errors[1]) if errors else 0,
    )


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
