"""Other load generators, written in C: wrk for REST, perf_analyzer for the Open Inference Protocol.

Both send a request for every answer (closed loop), so they measure throughput and hide queueing delay.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loadtest.errors import LoadTestError
from loadtest.traffic.requests import Request
from loadtest.traffic.target import Target

#: Seconds beyond the measurement after which a program is killed.
_PATIENCE = 30.0

#: The variable that tells the script of wrk the ports of its threads.
_PORTS = "WRK_PORTS"

#: Texts of a file for perf_analyzer, which reads them all before it starts.
_ROWS = 256


def find(program: str) -> str | None:
    """The path of a program on the search path or beside this Python, or None if it is not installed."""
    return shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))


class Script:
    """A Lua script that has wrk (https://github.com/wg/wrk) post bodies to a path in turn; deleted with this object."""

    def __init__(self, path: str, bodies: Sequence[bytes], api_key: str | None = None) -> None:
        self._file = tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8")  # noqa: SIM115
        key = "" if api_key is None else f', ["Authorization"] = "Bearer {api_key}"'
        quoted = ",\n".join(f"[========[{body.decode()}]========]" for body in bodies)
        self._file.write(
            f"local bodies = {{{quoted}}}\nlocal turn = 0\n"
            f'local headers = {{["Content-Type"] = "application/json"{key}}}\n'
            f"local ports, threads = {{}}, 0\nfor port in (os.getenv('{_PORTS}') or ''):gmatch('%d+') do "
            "ports[#ports + 1] = port end\n"
            "function setup(thread)\n  threads = threads + 1\n"
            "  if #ports > 0 then thread.addr = wrk.lookup(wrk.host, ports[threads])[1] end\nend\n"
            "function request()\n  turn = turn % #bodies + 1\n"
            f'  return wrk.format("POST", "{path}", headers, bodies[turn])\nend\n'
            "function done(summary, latency)\n  local e = summary.errors\n"
            "  io.write(('[%d, %d, %d, %d, %d, %d]\\n'):format(summary.requests, summary.duration, e.status,"
            " e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99)))\nend\n"
        )
        self._file.flush()

    def command(self, url: str, connections: int, seconds: int, ports: Sequence[int] = ()) -> list[str]:
        """What to run. With `ports`, a thread for each has its part of the connections, whatever port the URL names.

        Raises `LoadTestError` if wrk is not installed.
        """
        program = find("wrk")
        if program is None:
            raise LoadTestError("wrk is needed: apt-get install wrk")
        wrk = [program, f"-t{len(ports) or 1}", f"-c{connections}", f"-d{seconds}s", "-s", self._file.name]
        return ["env", f"{_PORTS}={','.join(map(str, ports))}", *wrk, url]

    def run(self, url: str, connections: int, seconds: int, ports: Sequence[int] = ()) -> Answers | None:
        """Send as fast as answers come back, over so many connections; None if wrk fails or no answer comes in time."""
        output = _run(self.command(url, connections, seconds, ports), seconds)
        return None if output is None else read_wrk(output)


class Answers(NamedTuple):
    """What wrk saw. Throughput and latencies are of answers that came within 2 seconds, wrk's timeout."""

    requests: int  # answers, whatever their status
    throughput: float  # answers a second other than those with a status of 400 or more
    p50: float  # seconds
    p99: float
    failed: int  # such a status, broken connections, and answers that did not come in time


def read_wrk(output: str) -> Answers | None:
    """The numbers that `Script` has wrk or wrk2 print at the end; None if there was no answer or no latency.

    wrk counts answers of every status, so those that failed are taken out. It leaves answers that took longer than its
    timeout out of the latencies, which are zero if there are no others.
    """
    requests, microseconds, bad, broken, p50, p99 = json.loads(output.splitlines()[-1])
    if not requests or not p99:
        return None
    return Answers(requests, (requests - bad) / (microseconds * 1e-6), p50 * 1e-6, p99 * 1e-6, bad + broken)


def wrk(target: Target, requests: Sequence[Request], connections: int, seconds: int) -> dict[str, Any] | None:
    """REST requests of one form, by wrk; None if it fails. Raises `LoadTestError` if it is not installed."""
    path = requests[0].payload.split(b" ", 2)[1].decode()
    script = Script(path, [request.payload.partition(b"\r\n\r\n")[2] for request in requests], target.api_key)
    scheme = "https" if target.rest.tls else "http"
    answers = script.run(f"{scheme}://{target.rest}", connections, seconds)
    if answers is None:
        return None
    return {"tool": "wrk", "traffic": requests[0].form, "connections": connections} | answers._asdict()


def perf_analyzer(
    target: Target, protocol: str, texts: Sequence[str], concurrency: int, seconds: float
) -> dict[str, Any] | None:
    """The Open Inference Protocol, by Triton's perf_analyzer; None if it is missing or fails.

    See https://github.com/triton-inference-server/perf_analyzer.
    `protocol` is `http` or `grpc`. perf_analyzer sends no API key and trusts no other certificates, so None as well if
    the service needs either.
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


def _run(command: list[str], seconds: float) -> str | None:
    try:
        finished = subprocess.run(  # noqa: S603 - a program that was found on this machine, with our arguments
            command, capture_output=True, text=True, timeout=seconds + _PATIENCE, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return finished.stdout if finished.returncode == 0 else None
