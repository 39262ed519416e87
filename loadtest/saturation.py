"""Second opinions from generators written in C: wrk for REST, perf_analyzer for the Open Inference Protocol.

Both send a request for every answer, so they say what throughput there is, and nothing of queueing delay.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.target import Target
from loadtest.traffic import Request

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}

#: Seconds beyond the measurement after which a program is given up.
_PATIENCE = 30.0

#: Texts of a file for perf_analyzer, which reads them all before it starts.
_ROWS = 256


def find(program: str) -> str | None:
    """Its path, where it is installed: on the search path or beside this Python."""
    return shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))


def wrk(target: Target, requests: Sequence[Request], connections: int, seconds: int) -> dict[str, Any] | None:
    """REST requests of one form (https://github.com/wg/wrk); None where wrk is missing or fails."""
    program = find("wrk")
    if program is None:
        return None
    path = requests[0].payload.split(b" ", 2)[1].decode()
    bodies = ",\n".join(f"[========[{_body(each)}]========]" for each in requests)
    key = "" if target.api_key is None else f', ["Authorization"] = "Bearer {target.api_key}"'
    script = (
        f'local bodies = {{{bodies}}}\nlocal turn = 0\nlocal headers = {{["Content-Type"] = "application/json"{key}}}\n'
        "function request()\n  turn = turn % #bodies + 1\n"
        f'  return wrk.format("POST", "{path}", headers, bodies[turn])\nend\n'
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8") as file:
        file.write(script)
        file.flush()
        scheme = "https" if target.rest.tls else "http"
        command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", file.name]
        said = _run([*command, f"{scheme}://{target.rest}"], seconds)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said or "")
    if said is None or rate is None:
        return None
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return {
        "tool": "wrk",
        "traffic": requests[0].form,
        "connections": connections,
        "throughput": float(rate[1]),
        "p50": _time(said, "50%"),
        "p99": _time(said, "99%"),
        "failed": (int(bad[1]) if bad else 0) + (sum(map(int, sockets.groups())) if sockets else 0),
    }


def perf_analyzer(
    target: Target, protocol: str, texts: Sequence[str], concurrency: int, seconds: float
) -> dict[str, Any] | None:
    """The Open Inference Protocol, by Triton's perf_analyzer; None where it is missing or fails.

    See https://github.com/triton-inference-server/perf_analyzer.
    `protocol` is `http` or `grpc`. It knows neither our keys nor our certificates, so it is left out where one is
    needed.
    """
    endpoint = target.grpc if protocol == "grpc" else target.rest
    program = find("perf_analyzer")
    if program is None or endpoint is None or endpoint.tls or target.api_key is not None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        data, table = Path(folder) / "texts.json", Path(folder) / "table.csv"
        data.write_text(json.dumps({"data": [{"text": [text]} for text in texts[:_ROWS]]}))
        said = _run(
            [
                *(program, "-m", target.model, "-i", protocol, "-u", str(endpoint), "--input-data", str(data)),
                # Three windows, which may differ as much as they like.
                *("--concurrency-range", f"{concurrency}:{concurrency}", "-p", str(int(seconds * 1000 / 3))),
                *("-r", "3", "-s", "1000", "--percentile", "99", "-f", str(table)),
            ],
            seconds,
        )
        if said is None or not table.is_file():
            return None
        with table.open() as lines:
            row = next(csv.DictReader(lines), None)
    if row is None:
        return None
    return {
        "tool": "perf_analyzer",
        "traffic": f"oip-{'grpc' if protocol == 'grpc' else 'rest'}",
        "connections": concurrency,
        "throughput": float(row["Inferences/Second"]),
        "p50": float(row["p50 latency"]) * 1e-6,
        "p99": float(row["p99 latency"]) * 1e-6,
        "failed": 0,  # a failure would have ended it
    }


def _body(request: Request) -> str:
    return request.payload.partition(b"\r\n\r\n")[2].decode()


def _run(command: list[str], seconds: float) -> str | None:
    try:
        finished = subprocess.run(  # noqa: S603 - a program that was found on this machine, with our arguments
            command, capture_output=True, text=True, timeout=seconds + _PATIENCE, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return finished.stdout if finished.returncode == 0 else None


def _time(said: str, percentile: str) -> float | None:
    found = re.search(rf"\s{re.escape(percentile)}\s+([\d.]+)(us|ms|s|m)", said)
    return float(found[1]) * _UNITS[found[2]] if found else None
