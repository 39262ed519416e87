"""The Locust file: every user class gets answers, and scenarios have the documented numbers of users."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from loadtest.traffic.requests import FORMS
from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT, ServerProcess, environment, eventually, free_port

#: The smallest number of users with which Locust starts at least one of every class, by their weights.
USERS = 13


@contextmanager
def page_of(host: str, grpc_host: str, *flags: str) -> Iterator[httpx.Client]:
    """Run Locust with its web page. Yields a client of the page when it answers."""
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--class-picker"),
            *("--host", host, "--grpc-host", grpc_host),
            *("--web-host", "127.0.0.1", "--web-port", str(port), *flags),
        ],
        cwd=PROJECT,
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as page:

            def answers() -> bool:
                assert process.poll() is None
                try:
                    return page.get("/").is_success
                except httpx.ConnectError:
                    return False

            eventually(answers)
            yield page
    finally:
        process.terminate()
        process.wait(PATIENCE)


def start(page: httpx.Client, host: str, chosen: dict[str, str], users: dict[str, str]) -> dict[str, Any]:
    """Start a test with these user classes, and return the statistics after each class has sent a request."""
    started = page.post("/swarm", data={"host": host, "user_classes": list(users), **chosen}).json()
    assert started["success"], started

    def asked() -> bool:
        rows = page.get("/stats/requests").json()["stats"]
        return {row["name"] for row in rows if row["num_requests"]} >= set(users.values())

    eventually(asked)
    found: dict[str, Any] = page.get("/stats/requests").json()
    return found


def test_page() -> None:
    """The page offers every user class and every scenario, and runs the chosen one with the options of the page."""
    with (
        ServerProcess("--workers", "1", repository=MODEL_REPOSITORY) as server,
        page_of(server.url, f"127.0.0.1:{server.grpc_port}") as page,
    ):
        arguments = re.search(r"templateArgs = (\{.*\})", page.get("/").text)
        assert arguments is not None
        offered = json.loads(arguments[1])
        assert len(offered["available_user_classes"]) == len(FORMS)
        assert offered["available_shape_classes"] == ["Default", "ramp", "soak", "spike", "steady"]
        assert {"peak_users", "scenario_seconds", "grpc_host", "texts"} <= set(offered["extra_options"])
        chosen = {"shape_class": "spike", "peak_users": "30", "scenario_seconds": "3600"}
        found = start(page, server.url, chosen, {"BatchUser": "rest-batch", "GrpcUser": "grpc"})
        eventually(lambda: page.get("/stats/requests").json()["user_count"] == 3)
        assert found["fail_ratio"] == 0


def test_headless_scenario(tmp_path: Path) -> None:
    """A scenario in a worker process of Locust covers all protocols without a failure, and ends by itself."""
    port = str(free_port())
    with ServerProcess("--workers", "1", repository=MODEL_REPOSITORY) as server:
        finished = subprocess.run(
            [
                *(sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless"),
                *("--host", server.url, "--grpc-host", f"127.0.0.1:{server.grpc_port}"),
                *("--scenario", "steady", "--scenario-seconds", "12", "--peak-users", str(USERS)),
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
    """Each scenario has the documented share of its peak users at every time."""
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
