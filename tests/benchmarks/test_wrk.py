"""The output of wrk is read correctly. Every REST figure of the benchmarks comes from it."""

from __future__ import annotations

import httpx
import pytest

from benchmarks.wrk import Results, Script, read
from loadtest.errors import LoadTestError
from tests import programs
from tests.loadtest import stub

BEFORE = "Running 1s test @ http://127.0.0.1:35421/\n  1 threads and 4 connections\n"


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("[42242, 1000578, 0, 0, 52, 20170]", Results(42242, 42217.6, 52e-6, 20.17e-3, 0)),
        ("[1993, 1100000, 199, 0, 2040, 5530]", Results(1993, 1794 / 1.1, 2.04e-3, 5.53e-3, 199)),
        ("[1993, 1100000, 199, 4321, 2040, 5530]", Results(1993, 1794 / 1.1, 2.04e-3, 5.53e-3, 199 + 4321)),
        ("[8, 6020000, 0, 8, 0, 0]", None),
        ("[0, 1000000, 0, 4, 0, 0]", None),
    ],
    ids=["answers", "bad statuses", "failures of all kinds", "late answers only", "no answers"],
)
def test_numbers(line: str, answers: Results | None) -> None:
    """Answers with a bad status are failures and not throughput. There is no result without measured latencies."""
    assert read(f"{BEFORE}{line}\n") == (answers and pytest.approx(answers, rel=1e-4))


def test_installed_wrk() -> None:
    """The output of the installed wrk is read: a tenth of the server's answers fail, and each takes at least 20 ms."""
    programs.find("wrk")
    with stub.running(delay=0.02, fail_every=10) as url:
        answers = Script("/v1/predict", [b'{"text": "One film."}']).run(url, 4, 3)
    assert answers is not None
    assert answers.failed == pytest.approx(answers.requests / 10, abs=1)
    assert 0.02 <= answers.p50 <= answers.p99
    assert 0 < answers.throughput <= 4 / 0.02


def test_closed_port() -> None:
    """There is no result for a port on which nothing listens."""
    programs.find("wrk")
    assert Script("/v1/predict", [b"{}"]).run("http://127.0.0.1:1", 1, 1) is None


def test_ports() -> None:
    """Connections are distributed over all ports, so that no worker of a server is idle."""
    programs.find("wrk")
    with stub.running(delay=0.02) as one, stub.running(delay=0.02) as other:
        ports = [int(url.rpartition(":")[2]) for url in (one, other)]
        answers = Script("/v1/predict", [b'{"text": "One film."}']).run(one, 8, 3, ports)
        counts = [len(httpx.get(f"{url}/record", timeout=60, trust_env=False).json()) for url in (one, other)]
    assert answers is not None and answers.failed == 0
    assert min(counts) > 0


def test_wrk_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If wrk is not installed, the error says how to install it."""
    monkeypatch.setattr("benchmarks.wrk.shutil.which", lambda program: None)
    with pytest.raises(LoadTestError, match="apt-get install wrk"):
        Script("/", [b""]).command("http://127.0.0.1:1", 1, 1)
