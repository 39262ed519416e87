"""`python -m loadtest`: a test of the real service, its report, interruptions and errors."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from loadtest.__main__ import main
from loadtest.document import STEPS, read_document
from loadtest.reporting import report
from loadtest.reporting.summary import summary
from loadtest.traffic.requests import FORMS
from tests.loadtest import stub
from tests.proc import children
from tests.processes import PATIENCE, PROJECT, SHIPPED_MODELS, environment, run

Document = dict[str, Any]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the shortest test of the real service. Returns its folder and its output."""
    out = tmp_path_factory.mktemp("smoke")
    flags = ("--slo", "p99<60s,errors<50%", "--workers", "1", "--batch", "4", "--seconds", "0.4", "--out", str(out))
    finished = run("-m", "loadtest", "--smoke", *flags)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return out, finished.stdout


def document(folder: Path) -> Document:
    found: Document = json.loads((folder / "report.json").read_text())
    return found


def test_summary(smoke: tuple[Path, str]) -> None:
    """The output has five lines and the path. The memory of a running service is known only as a bound."""
    folder, output = smoke
    *lines, empty, path = output.splitlines()
    assert [line.split()[0] for line in lines] == ["Throughput", "Knee", "Objective", "Failures", "Cost"]
    assert (empty, path) == ("", str(folder / "report.html"))
    assert re.search(r"met, highest rate 100 requests/s \(100 a worker, 100 a core\)", output)
    assert re.search(r"per text, \d+ MiB", lines[4])
    found = read_document(folder)
    running = {**found, "target": found["target"] | {"started": None}}
    assert re.search(r"per text, at most \d+ MiB", summary(running)[4])


@pytest.mark.parametrize("library", ["grpc", "jinja2", "prometheus_client", "psutil"])
def test_missing_library(library: str) -> None:
    """If a library of the load test is missing, one line says what to install."""
    code = f"import runpy, sys; sys.modules[{library!r}] = None; runpy.run_module('loadtest', run_name='__main__')"
    finished = run("-c", code)
    assert finished.returncode == 2
    [line] = finished.stderr.splitlines()
    assert line.startswith(f"error: {library}") and "requirements/loadtest.txt" in line


def test_every_protocol_answers(smoke: tuple[Path, str]) -> None:
    """Every protocol is measured, and nothing fails."""
    found = document(smoke[0])
    assert [step["traffic"] for step in found["protocols"]] == list(FORMS)
    assert found["left_out"] == {}
    assert found["failed"] == 0
    for step in (*found["closed"], *found["open"], *found["protocols"]):
        assert step["answered"] == step["requests"] > 0, step["title"]
        assert step["latency"]["p50"] <= step["latency"]["p99"] <= step["latency"]["max"]
        assert sum(bucket["count"] for bucket in step["histogram"]) == step["requests"]


def test_metrics_of_the_service(smoke: tuple[Path, str]) -> None:
    """Stages, processor time, memory, workers and models come from the service's own metrics."""
    found = document(smoke[0])
    assert found["workers"] == 1
    assert found["models"] == [f"{name} {folder.name}" for name, folder in SHIPPED_MODELS.items()]
    for step in found["open"]:
        assert {"tokenize", "infer"} <= set(step["server"]["stages"])
        assert step["server"]["texts"] >= step["answered"]
        assert step["server"]["memory_bytes"] > 2**20
    assert any((step["server"]["cpu_per_text"] or 0) > 0 for step in found["closed"])


class _Resources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str | None]] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [pair for pair in attributes if pair[0] in ("src", "href", "srcset", "data", "action")]


def test_report_is_self_contained(smoke: tuple[Path, str]) -> None:
    """The report needs no other file, runs no script and contains well-formed plots."""
    page = (smoke[0] / "report.html").read_text(encoding="utf-8")
    reader = _Resources()
    reader.feed(page)
    assert reader.found == []
    assert "script" not in reader.tags and "link" not in reader.tags
    assert set(re.findall(r"url\(.", page)) <= {"url(#"}, "parts of the page itself"
    assert "@import" not in page
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) >= 7
    for plot in plots:
        ElementTree.fromstring(plot)
    for words in ("knee", "Failures and rejections", "The generator", "Environment", "python -m loadtest --smoke"):
        assert words in page


def test_title(smoke: tuple[Path, str]) -> None:
    """The title names the model that answered the closed and the open loop, of all that are served."""
    assert "<h1>Load test of reviews 2</h1>" in (smoke[0] / "report.html").read_text()


def test_one_caller(smoke: tuple[Path, str]) -> None:
    """A single caller is not in the plural, in the titles of steps, the tables, the cards and the output."""
    found = read_document(smoke[0])
    first = found["closed"][0]
    assert (first.callers, first.title) == (1, "closed loop, 1 caller")
    found = {**found, "best": first, "open": [], "knee": None}
    page = report.html(found)
    assert ">1 caller</th>" in page and "with 1 caller<" in page and "1 callers" not in page
    assert summary(found)[0].endswith("with 1 caller")


@pytest.mark.parametrize(("share", "discarded"), [(None, False), (0.09, False), (0.62, True)])
def test_disturbed_run(smoke: tuple[Path, str], share: float | None, discarded: bool) -> None:
    """If other programs used a tenth of the machine in a step, every card is grey and says why, and none is red."""
    found = read_document(smoke[0])
    calm = {kind: [replace(step, other_programs=None) for step in found[kind]] for kind in STEPS}
    calm["protocols"][0] = replace(calm["protocols"][0], other_programs=share)
    page = report.html({**found, **calm, "knee": calm["open"][0], "best": calm["closed"][0], "failed": 3})
    cards = re.findall(r"<div[^>]*><dt>.*?</div>", page, re.DOTALL)
    assert len(cards) == 6
    whys = ["Discard: other programs used 62%<" in card for card in cards]
    assert {*whys} == {'<div class="discarded">' in card for card in cards} == {discarded}
    assert ('class="bad-card"' in page) != discarded


def test_throughput_below_the_knee(smoke: tuple[Path, str]) -> None:
    """If the closed loop reached less than the knee of the open loop, a sentence below the cards says what it means."""
    found = dict(read_document(smoke[0]))
    best, knee = replace(found["best"], throughput=70.0), replace(found["open"][1], rate=100.0, throughput=98.0)
    found |= {"open": [found["open"][0], knee]}
    said = "The throughput is below the knee, because they come from different loops."
    page = report.html({**found, "best": best, "knee": knee})
    assert said in page and "In the open loop, the service answered 98 requests/s." in page
    assert said not in report.html({**found, "best": replace(best, throughput=100.0), "knee": knee})


def test_comparison(smoke: tuple[Path, str], tmp_path: Path) -> None:
    """All ratios of a report to itself are 1. Compared with a report of doubled p99, the ratio of p99 is 2."""
    folder, _ = smoke
    slower = document(folder)
    for step in (*slower["closed"], *slower["open"], *slower["protocols"]):
        for part in step["slices"]:
            part["p99"] *= 2
    (tmp_path / "report.json").write_text(json.dumps(slower))
    assert main(["compare", str(folder), str(tmp_path)]) == 0
    compared = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert len(compared["steps"]) == 10
    assert sum(step["ratios"]["p99"] is not None for step in compared["steps"]) >= 8
    for step in compared["steps"]:
        for name, ratio in step["ratios"].items():
            if ratio is None:
                continue  # most slices have too few requests
            assert ratio["ratio"] == pytest.approx(2 if name == "p99" else 1)
            assert ratio["low"] <= ratio["ratio"] <= ratio["high"]
    page = (tmp_path / "comparison" / "comparison.html").read_text(encoding="utf-8")
    assert "Side by side" in page
    assert page.count("reviews 2, ") == 2


def test_same_steps_as_an_earlier_test(smoke: tuple[Path, str], tmp_path: Path) -> None:
    """`--like` repeats the rates, concurrency and duration of an earlier test, so that the reports are comparable."""
    with stub.running() as url:
        flags = ("--url", url, "--grpc-url", "none", "--like", str(smoke[0]), "--out", str(tmp_path), "--no-protocols")
        finished = run("-m", "loadtest", *flags)
    assert finished.returncode == 0, finished.stderr
    found = document(tmp_path)
    assert [step["rate"] for step in found["open"]] == [50, 100]
    assert [step["callers"] for step in found["closed"]] == [1, 8]
    assert {step["seconds"] for step in found["open"]} == {0.4}
    assert found["workers"] is None and found["open"][0]["server"] is None
    assert "has no metrics" in (tmp_path / "report.html").read_text()


def test_closed_loop_only_like_an_earlier_test(smoke: tuple[Path, str], tmp_path: Path) -> None:
    """`--like` adds no steps to those of an earlier test, here one with `--only closed`."""
    earlier = document(smoke[0])
    earlier |= {"open": [], "plan": earlier["plan"] | {"protocols": False}}
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    with stub.running() as url:
        flags = ("--url", url, "--grpc-url", "none", "--like", str(tmp_path / "earlier.json"), "--out", str(tmp_path))
        finished = run("-m", "loadtest", *flags)
    assert finished.returncode == 0, finished.stderr
    found = document(tmp_path)
    assert [step["callers"] for step in found["closed"]] == [1, 8]
    assert (found["open"], found["protocols"]) == ([], [])


def descendants(pid: int) -> Iterator[int]:
    """Yield the descendants of a process."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def ended(process: int) -> bool:
    """Wait for the end of a process. Python's own helper processes end just after their parent."""
    with select.epoll() as poll:
        poll.register(process, select.EPOLLIN)
        return bool(poll.poll(PATIENCE))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("signals", [("SIGINT",), ("SIGINT", "SIGINT"), ("SIGTERM",), ("SIGHUP",)], ids="-".join)
def test_interruption(tmp_path: Path, signals: tuple[str, ...]) -> None:
    """A signal to all processes of a test ends them and leaves a partial report, even if Ctrl-C is pressed twice."""
    steps = ",".join(["2"] * 60)  # so that it still runs when a busy machine sends the signal
    flags = ("--concurrency", steps, "--seconds", "1", "--workers", "1", "--no-protocols")
    with subprocess.Popen(
        # Otherwise the process ignores SIGINT in the background of a script, and SIGHUP under nohup.
        ["env", "--default-signal=HUP,INT", sys.executable, "-m", "loadtest", *flags, "--out", str(tmp_path)],
        cwd=PROJECT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stderr.readline()
        assert "closed loop, 2 callers" in first, first
        below = [os.pidfd_open(pid) for pid in descendants(process.pid)]
        assert len(below) >= 3, "a supervisor, a worker, a generator"
        for sent in signals:
            os.killpg(process.pid, signal.Signals[sent])  # as a terminal does
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == (-signal.SIGTERM if signals == ("SIGTERM",) else 130)
    for each in below:
        assert ended(each)
        os.close(each)
    found = document(tmp_path)
    assert found["interrupted"] == "interrupted"
    assert found["closed"][0]["answered"] > 0
    assert "This report is partial: interrupted." in (tmp_path / "report.html").read_text()
    assert str(tmp_path / "report.html") in output


def test_request_limit(tmp_path: Path) -> None:
    """`--max-requests` limits the requests of a closed loop that count, of all processes together."""
    flags = ("--only", "closed", "--concurrency", "4", "--processes", "2", "--max-requests", "80", "--seconds", "2")
    with stub.running() as url:
        finished = run("-m", "loadtest", "--url", url, "--out", str(tmp_path), *flags)
    assert finished.returncode == 0, finished.stderr
    [step] = document(tmp_path)["closed"]
    assert step["requests"] == step["answered"] == 80
    assert step["throughput"] > 0


def test_time_limit(tmp_path: Path) -> None:
    """A test that reaches its time limit reports the steps so far, and misses an objective for the other rates."""
    flags = ("--rates", "20,30", "--only", "open", "--seconds", "6", "--max-seconds", "12", "--slo", "p99<10s")
    with stub.running() as url:
        finished = run("-m", "loadtest", "--url", url, "--out", str(tmp_path), *flags)
    assert finished.returncode == 1, finished.stderr
    assert "MISSED, out of time (--max-seconds), highest rate 20 requests/s" in finished.stdout
    assert [step["rate"] for step in document(tmp_path)["open"]] == [20]
    assert "out of time" in (tmp_path / "report.html").read_text()
    assert "Rate        20 requests/s: p50" in finished.stdout, "a single rate says nothing about a knee"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--slo", "fast"), "'fast' is not a condition"),
        (("--traffic", "carrier-pigeon"), "there is no traffic 'carrier-pigeon'"),
        (("--traffic", "rest=0"), "the share must be above 0"),
        (("--url", "ftp://x"), "is not a URL"),
        (("--url", "http://127.0.0.1:1/predict"), "only a host and a port"),
        (("--only", "open"), "needs --rates"),
        (("--only", "closed", "--slo", "p99<1s"), "an objective is met at a rate"),
        (("--rates", "1000000", "--seconds", "3"), "exceed --max-requests"),
        (("--rates", "0"), "is not a number from"),
        (("--concurrency", "1,x"), "'x' is not a number from"),
        (("--seconds", "nan"), "is not a number from"),
        (("--texts", "missing.txt"), "missing.txt: cannot be read"),
        (("--like", "missing"), "missing: cannot be read"),
        (("--cores", "2"), "--cores needs --url"),
        (("--connections", "9", "--max-connections", "8"), "exceeds --max-connections"),
        (("--url", ""), "'' is not a URL"),
        (("--grpc-url", "127.0.0.1:1"), "--grpc-url needs --url"),
        (("--ca", "ca.pem"), "--ca needs --url"),
        (("--url", "http://127.0.0.1:1", "--ca", "ca.pem"), "--ca needs an address with https://"),
        (("--url", "http://127.0.0.1:1", "--workers", "2"), "--workers cannot be used with --url"),
        (("--url", "http://nowhere.invalid"), "cannot reach nowhere.invalid:8000"),
        (("--speed", "9"), "unrecognized arguments: --speed 9"),
    ],
)
def test_invalid_options(
    tmp_path: Path, flags: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid option exits with status 2 and one line."""
    try:
        status = main(["run", "--out", str(tmp_path), *flags])
    except SystemExit as error:
        status = int(str(error.code))
    assert status == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert reason in said


def test_unreachable_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An address on which nothing listens exits with status 2 and one sentence."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["--url", f"http://{address}", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: cannot reach {address}: Connection refused\n"


def test_server_that_stops(tmp_path: Path) -> None:
    """If the server stops during a test, the test continues and reports failures by kind."""
    with stub.running(answers=140) as url:  # during the second of two steps of at least 100 requests
        flags = ("--rates", "50,60", "--only", "open", "--seconds", "2", "--out", str(tmp_path))
        finished = run("-m", "loadtest", "--url", url, *flags)
    assert finished.returncode == 0, finished.stderr
    second = document(tmp_path)["open"][1]
    assert second["failed"] > 0
    assert "cannot connect: refused" in second["outcomes"]
