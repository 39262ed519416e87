"""The load generator wrk, which is written in C: a closed loop that sends a request after each response."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from loadtest.errors import LoadTestError

#: Seconds beyond the measurement after which wrk is killed.
_PATIENCE = 30.0

#: The environment variable with the ports of wrk's threads.
_PORTS = "WRK_PORTS"


class Script:
    """A Lua script for wrk (https://github.com/wg/wrk) that posts bodies to a path in turn. It is a temporary file."""

    def __init__(self, path: str, bodies: Sequence[bytes]) -> None:
        self._file = tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8")  # noqa: SIM115
        quoted = ",\n".join(f"[========[{body.decode()}]========]" for body in bodies)
        self._file.write(
            f"local bodies = {{{quoted}}}\nlocal requests, turn = {{}}, 0\n"
            'local headers = {["Content-Type"] = "application/json"}\n'
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
        program = shutil.which("wrk")
        if program is None:
            raise LoadTestError("wrk is needed: apt-get install wrk")
        wrk = [program, f"-t{len(ports) or 1}", f"-c{connections}", f"-d{seconds}s", "-s", self._file.name]
        return ["env", f"{_PORTS}={','.join(map(str, ports))}", *wrk, url]

    def run(self, url: str, connections: int, seconds: int, ports: Sequence[int] = ()) -> Results | None:
        """Run wrk. Returns None if it fails, or if no response arrives in time."""
        command = self.command(url, connections, seconds, ports)
        patience = seconds + _PATIENCE
        try:
            finished = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
        except subprocess.TimeoutExpired:
            return None
        return read(finished.stdout) if finished.returncode == 0 else None


class Results(NamedTuple):
    """The results of wrk. Throughput and latencies are those of responses within 2 seconds, wrk's timeout."""

    requests: int  # responses of every status
    throughput: float  # responses per second with a status below 400
    p50: float  # seconds
    p99: float
    failed: int  # responses with other statuses, broken connections, and timeouts


def read(output: str) -> Results | None:
    """Parse the last line that a `Script` prints in wrk or wrk2. Returns None if there was no response or no latency.

    wrk counts responses of every status, so failed ones are subtracted. Its latencies do not include responses after
    its timeout, and are zero if there are no others.
    """
    requests, microseconds, bad, broken, p50, p99 = json.loads(output.splitlines()[-1])
    if not requests or not p99:
        return None
    return Results(requests, (requests - bad) / (microseconds * 1e-6), p50 * 1e-6, p99 * 1e-6, bad + broken)
