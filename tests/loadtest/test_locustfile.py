"""The Locust scenarios: every kind of user gets its answers, and a scenario has the users that it says."""

from __future__ import annotations

import csv
import socket
import subprocess
import sys
from pathlib import Path

from loadtest.traffic import FORMS
from tests.processes import PATIENCE, PROJECT, ServerProcess, environment

#: The least number with which Locust gives every kind of user one at least, by their weights.
USERS = 13


def test_every_user(tmp_path: Path) -> None:
    """A scenario in a process that another one leads: all protocols, no failure, and an end by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with ServerProcess("--workers", "1") as server:
        finished = subprocess.run(
            [
                *(sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless"),
                *("--host", server.url, "--grpc-host", f"127.0.0.1:{server.grpc_port}"),
                *("--scenario", "steady", "--scenario-seconds", "2", "--peak-users", str(USERS)),
                *("--csv", str(tmp_path / "locust"), "--only-summary"),
                *("--processes", "1", "--master-port", port, "--master-bind-port", port),
            ],
            cwd=PROJECT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    with (tmp_path / "locust_stats.csv").open() as lines:
        rows = {row["Name"]: row for row in csv.DictReader(lines)}
    assert set(rows) == {*FORMS, "Aggregated"}
    for name, row in rows.items():
        assert int(row["Request Count"]) > 0, name
        assert int(row["Failure Count"]) == 0, name


def test_scenarios() -> None:
    """Shares of the highest number of users over the course of each scenario."""
    program = (
        "from loadtest.locustfile import SCENARIOS\n"
        "for name, (seconds, shape) in SCENARIOS.items():\n"
        "    print(name, *(shape(share / 100) for share in (0, 30, 50, 70, 99)))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert finished.stdout.splitlines() == [
        "steady 1.0 1.0 1.0 1.0 1.0",
        "ramp 0.05 0.35 0.55 0.75 1.0",
        "spike 0.1 0.1 1.0 0.1 0.1",
        "soak 1.0 1.0 1.0 1.0 1.0",
    ]
