"""The load test reports the delays and failures of servers whose delays and failures are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.loadtest import stub
from tests.processes import run

#: Answers are delayed by much more than a busy machine takes to run a process. Pauses take 15.5 % of the time, so that
#: no whole percentile lies between requests that a pause delays and requests that it does not.
DELAYS: dict[str, Any] = {"delay": 0.6, "pause": 1.24, "period": 8.0}
RATE, SECONDS = 100.0, 8.0


def report(url: str, out: Path, *flags: str, status: int = 0) -> dict[str, Any]:
    """Return the report of a test of a server."""
    finished = run("-m", "loadtest", "--url", url, "--grpc-url", "none", "--out", str(out), "--no-protocols", *flags)
    assert finished.returncode == status, finished.stdout + finished.stderr
    document: dict[str, Any] = json.loads((out / "report.json").read_text())
    return document


def test_delays(tmp_path: Path) -> None:
    """In an open loop, every percentile includes all of the server's delay, and the first adds less than 5 % to it.

    A busy machine can only increase a latency, because a request that is sent late is not answered earlier, and it
    does not delay all requests.
    """
    true = stub.true_latencies(RATE, SECONDS, **DELAYS)
    expected = {at: np.percentile(true, at, method="inverted_cdf") for at in (*range(1, 100), 99.5, 99.9, 99.99)}
    with stub.running(**DELAYS) as url:
        document = report(url, tmp_path, "--only", "open", "--rates", f"{RATE:g}", "--seconds", f"{SECONDS:g}")
    [step] = document["open"]
    assert step["requests"] == step["answered"] == len(true)
    reported = {float(at): value for at, value in step["percentiles"].items()}
    assert reported.keys() == expected.keys()
    for at, value in reported.items():
        assert value > expected[at] - 1 / RATE, f"p{at}"  # a pause begins between two requests
    assert reported[1] < 1.05 * expected[1]
    assert step["throughput"] <= RATE
    assert not step["generator"]["bottleneck"]


def test_failures(tmp_path: Path) -> None:
    """A server that fails one request in a hundred is reported so, in both loops, and misses its objective."""
    flags = (
        "--rates",
        "400",
        "--concurrency",
        "4",
        "--seconds",
        "2",
        "--slo",
        "p99<60s,errors<0.5%",
    )
    with stub.running(delay=0.002, fail_every=100) as url:
        document = report(url, tmp_path, *flags, status=1)
    for step in (*document["open"], *document["closed"]):
        assert step["failed"] == pytest.approx(step["requests"] / 100, abs=1), step["title"]
        assert step["failed_share"] == step["failed"] / step["requests"]
        assert step["outcomes"].get("503", 0) == step["failed"]
    [step] = document["open"]
    assert set(step["outcomes"]) == {"200", "503"}
    assert step["requests"] == 800
    assert not document["objective"]["met"]
    assert document["objective"]["misses"]["400"] == [f"errors {step['failed_share']:.3%}"]
    page = (tmp_path / "report.html").read_text()
    assert "503" in page and "rejected: overloaded" in page


def test_a_generator_at_its_limit(tmp_path: Path) -> None:
    """A rate that no client could send is reported as a limit of the generator or its machine, not of the server."""
    flags = ("--only", "open", "--rates", "1000000", "--seconds", "0.1", "--timeout", "0.1")
    with stub.running() as url:
        document = report(url, tmp_path, *flags)
    [step] = document["open"]
    assert step["generator"]["cpu"] > 0
    said = "".join(document["warnings"])
    if step["generator"]["bottleneck"]:
        assert "The generator, not the server, was the bottleneck in 1 of 1 steps" in said
    else:  # beside other programs it does not get the processor time that it could use
        assert "kept the generator from sending on time" in said
