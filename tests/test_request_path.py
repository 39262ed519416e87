"""docs/architecture.md names the functions that a request passes, in the order in which they run."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import PATIENCE, PROJECT, ServerProcess
from tests.service.grpc.channels import connect

#: Starts the service with a profiler that appends the name of each of these folders' functions to a file.
TRACED = f"""
import contextlib, os, runpy, sys

# A child that opens a version first closes its files. No other file gets a number as high as this one.
file = os.dup2(os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT), 999)
folders = {tuple(str(PROJECT / folder) for folder in ("sentiment_conv1d/inference", "server", "service"))}


def note(frame, event, argument):
    if event == "call" and frame.f_code.co_filename.startswith(folders):
        with contextlib.suppress(OSError):
            os.write(file, frame.f_code.co_qualname.encode() + b"\\n")


sys.path[0] = os.getcwd()
sys.setprofile(note)
runpy.run_module("service", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Path]]:
    """Start two workers, with CORS and traces. Return the server and the file of the functions that it has called."""
    folder = tmp_path_factory.mktemp("calls")
    program, names = folder / "traced.py", folder / "names"
    program.write_text(TRACED)
    command = shlex.join([sys.executable, str(program), str(names)])
    flags = ("--workers", "2", "--cors-origins", "*", "--tracing")
    with ServerProcess(*flags, program=command, OTEL_TRACES_SAMPLER="always_off") as server:
        server.client.post("/v1/predict", json={"text": "warm"})
        yield server, names


@pytest.fixture(scope="module")
def page() -> str:
    """Return the page without line breaks."""
    return " ".join((PROJECT / "docs" / "architecture.md").read_text().split())


def check(page: str, start: str, end: str, called: str) -> None:
    """Check that the functions that a part of the page names were called, in its order."""
    part = page[page.index(start) : page.index(end)]
    named = re.findall(r"`([A-Z]\w*\.\w+)`", part)
    names = iter(called.splitlines())
    assert len(named) > 2
    assert [each for each in named if each not in names] == []


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [("superb", "takes this path:", "This path needs"), ("superb " * 5000, "one other path", "A unary call")],
    ids=["small", "large"],
)
def test_rest(calls: tuple[ServerProcess, Path], page: str, text: str, start: str, end: str) -> None:
    """A request on a new connection passes the functions that the page names for its size."""
    server, names = calls
    before = names.stat().st_size
    answer = httpx.post(f"{server.url}/v1/predict", json={"text": text}, trust_env=False, timeout=PATIENCE)
    assert answer.status_code == 200
    check(page, start, end, names.read_bytes()[before:].decode())


def test_grpc(calls: tuple[ServerProcess, Path], page: str) -> None:
    """A call on a new connection passes the functions that the page names."""
    server, names = calls
    before = names.stat().st_size
    with connect(server) as channel:
        SentimentStub(channel).Predict(PredictRequest(text="superb"))
        check(page, "A unary call takes", "Large messages and", names.read_bytes()[before:].decode())
