"""Other load generators, written in C: wrk for REST, perf_analyzer for the Open Inference Protocol.

Both are closed loops: they send a request after each response, so they measure throughput and hide queueing delay.
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

#: The environment variable with the ports of wrk's threads.
_PORTS = "WRK_PORTS"

#: Texts in the file for perf_analyzer, which reads all of them before it starts.
_ROWS = 256


def find(program: str) -> str | None:
    """Return the path of a program, on the search path or next to this Python, or None if it is missing."""
    return shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))


class Script:
    """A Lua script for wrk (https://github.com/wg/wrk) that posts bodies to a path in turn. It is a temporary file."""

    def __init__(self, path: str, bodies: Sequence[bytes], api_key: str | None = None) -> None:
        self._file = tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8")  # noqa: SIM115
        key = "" if api_key is None else f', ["Authorization"] = "Bearer {api_key}"'
        quoted = ",\n".join(f"[========[{body.decode()}]========]" for body in bodies)
        self._file.write(
            f"local bodies = {{{quoted}}}\nlocal requests, turn = {{}}, 0\n"
            f'local headers = {{["Content-Type"] = "application/json"{key}}}\n'
            f"local ports, threads = {{}}, 0\nfor port in (os.getenv('{_PORTS}') or ''):gmatch('%d+') do "
            "ports[#ports + 1] = port end\n"
            "function setup(thread)\n  threads = threads + 1\n"
            "  if #ports > 0 then thread.addr = wrk.lookup(wrk.host, ports[threads])[1] end\nend\n"
            "function init()\n  for place, body in ipairs(bodies) do\n"
            f'    requests[place] = wrk.format("POST", "{path}", headers, body)\n  end\nend\n'
            "function request()\n  turn = turn % #requests + 1\n  return requests[turn]\nend\n"
            "function done(summary, latency)\n  local e = summary.errors\n"
            "  io.write(('[%d, %d, %d, %d, %d, %d]\\n'):format(summary.requests, summary.duration, e.status,"
            " e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99)))\nend\n"
        )
        self._file.flush()

    def command(self, url: str, connections: int, seconds: int, ports: Sequence[int] = ()) -> list[str]:
        """Return the command. With `ports`, a thread for each port has its share of the connections.

        Raises `LoadTestError` if wrk is not installed.
        """
        program = find("wrk")
        if program is None:
            raise LoadTestError("wrk is needed: apt-get install wrk")
        wrk = [program, f"-t{len(ports) or 1}", f"-c{connections}", f"-d{seconds}s", "-s", self._file.name]
        return ["env", f"{_PORTS}={','.join(map(str, ports))}", *wrk, url]

    def run(self, url: str, connections: int, seconds: int, ports: Sequence[int] = ()) -> WrkResults | None:
        """Run wrk. Returns None if it fails, or if no response arrives in time."""
        output = _run(self.command(url, connections, seconds, ports), seconds)
        return None if output is None else read_wrk(output)


class WrkResults(NamedTuple):
    """The results of wrk. Throughput and latencies are those of responses within 2 seconds, wrk's timeout."""

    requests: int  # responses of every status
    throughput: float  # responses per second with a status below 400
    p50: float  # seconds
    p99: float
    failed: int  # responses with other statuses, broken connections, and timeouts


def read_wrk(output: str) -> WrkResults | None:
    """Parse the last line that a `Script` prints in wrk or wrk2. Returns None if there was no response or no latency.

    wrk counts responses of every status, so failed ones are subtracted. Its latencies do not include responses after
    its timeout, and are zero if there are no others.
    """
    requests, microseconds, bad, broken, p50, p99 = json.loads(output.splitlines()[-1])
    if not requests or not p99:
        return None
    return WrkResults(requests, (requests - bad) / (microseconds * 1e-6), p50 * 1e-6, p99 * 1e-6, bad + broken)


def wrk(target: Target, requests: Sequence[Request], connections: int, seconds: int) -> dict[str, Any] | None:
    """Send REST requests of one form with wrk. Returns None if it fails. Raises `LoadTestError` if it is missing."""
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
    """Send Open Inference Protocol requests with Triton's perf_analyzer. Returns None if it is missing or fails.

    See https://github.com/triton-inference-server/perf_analyzer. `protocol` is `http` or `grpc`. perf_analyzer supports
    neither API keys nor other certificates, so the result is also None if the service needs them.
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
                # Three windows, with any difference between them.
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
        "failed": 0,  # it ends at the first failure
    }


def _run(command: list[str], seconds: float) -> str | None:
    try:
        finished = subprocess.run(  # noqa: S603 - a program that was found on this machine, with our arguments
            command, capture_output=True, text=True, timeout=seconds + _PATIENCE, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return finished.stdout if finished.returncode == 0 else None
