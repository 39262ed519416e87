"""What every command does if its output is on a full disk, or if the program that reads it ends first.

`pytest tests/commands/test_running.py -v` lists each command, what it prints, and both bufferings of standard output.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from sentiment_conv1d.__main__ import COMMANDS
from tests.processes import CLASSIC_REPOSITORY, MODEL_REPOSITORY, PATIENCE, PROJECT, environment
from tests.stores import EXTRAS
from tests.tiny import FLAGS, reviews

__all__ = ["reviews"]

UNREAD = 128 + signal.SIGPIPE
FULL = b"error: the output cannot be written (No space left on device)\n"
ARTIFACT = str(MODEL_REPOSITORY / "imdb-cnn" / "1")
BUFFERINGS = pytest.mark.parametrize("buffering", ["buffered", "unbuffered"])


class Finished(NamedTuple):
    """The exit status of a command, and what it wrote to standard error."""

    status: int
    errors: bytes


@contextmanager
def unread() -> Iterator[int]:
    """A pipe whose reader has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextmanager
def full_disk() -> Iterator[int]:
    """A file on a disk that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("needs a device that is always full")
    with Path("/dev/full").open("wb") as full:
        yield full.fileno()


def into(output: int, arguments: Sequence[str], buffering: str, folder: Path = PROJECT, python: str = "") -> Finished:
    """Run a command in a folder, with this standard output."""
    variables = {"PYTHONUNBUFFERED": "1"} if buffering == "unbuffered" else {}
    finished = subprocess.run(
        [python or sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment(SENTIMENT_DEFAULT_MODEL="imdb-cnn", PYTHONPATH=str(PROJECT), **variables),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    return Finished(finished.returncode, finished.stderr)


def check(arguments: Sequence[str], buffering: str, folder: Path = PROJECT, python: str = "") -> None:
    """Run a command with both outputs that cannot be written."""
    with unread() as output:
        assert into(output, arguments, buffering, folder, python) == (UNREAD, b"")
    with full_disk() as output:
        assert into(output, arguments, buffering, folder, python) == (os.EX_TEMPFAIL, FULL)


@BUFFERINGS
@pytest.mark.parametrize("module", ["service", "model", "export", "loadtest", "sentiment_conv1d"])
def test_help_of_a_module(module: str, buffering: str) -> None:
    """The help of `python -m` is output like any other."""
    check([module, "--help"], buffering)


@BUFFERINGS
@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str, buffering: str) -> None:
    """The help of a command is output like any other."""
    check(["sentiment_conv1d", command, "--help"], buffering)


@BUFFERINGS
def test_version(buffering: str) -> None:
    """The version is output like any other."""
    check(["sentiment_conv1d", "--version"], buffering)


@pytest.fixture(scope="module")
def folder(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the files that the commands read."""
    folder = tmp_path_factory.mktemp("output")
    (folder / "reviews.csv").write_bytes(reviews.read_bytes())
    prediction = {"label": "positive", "score": 0.9, "tokens": 5, "unknown_tokens": 0}
    record = {"time": "2026-01-01", "model": "imdb-cnn", "version": "1", "predictions": [prediction]}
    (folder / "requests.jsonl").write_text(f"{json.dumps(record)}\n" * 200)
    return folder


#: What each command prints something with, in `folder`. `serve` prints nothing, and `train`, `export` and `predict` to
#: a file have tests of their own.
PRINTING = {
    "predict": ["reviews.csv", "--out", "-"],
    "explain": ["A lovely film."],
    "check-data": ["reviews.csv"],
    "evaluate": [ARTIFACT, "--data", "reviews.csv"],
    "compare": [ARTIFACT, str(MODEL_REPOSITORY / "accurate" / "1"), "--data", "reviews.csv"],
    "check": [ARTIFACT],
    "copy": [ARTIFACT, "{new}/copied/1"],
    "convert": [ARTIFACT, "--to", "text-onnx", "--out", "{new}"],
    "push": [ARTIFACT, "file://{new}"],
    "pull": [f"file://{MODEL_REPOSITORY}/imdb-cnn", "--to", "{new}"],
    "drift": ["requests.jsonl", "--against", "requests.jsonl"],
}


@BUFFERINGS
@pytest.mark.parametrize("command", PRINTING)
def test_output(command: str, buffering: str, folder: Path, tmp_path: Path) -> None:
    """A command whose output nobody reads says nothing, and names a full disk."""
    python = str(EXTRAS / "bin" / "python") if command in ("push", "pull") else ""
    if python and not Path(python).exists():
        pytest.skip("the environment `extras` is not installed")
    for place, output, expected in (("a", unread, (UNREAD, b"")), ("b", full_disk, (os.EX_TEMPFAIL, FULL))):
        arguments = [each.replace("{new}", str(tmp_path / place)) for each in PRINTING[command]]
        with output() as descriptor:
            finished = into(descriptor, ["sentiment_conv1d", command, *arguments], buffering, folder, python)
        assert finished == expected


@BUFFERINGS
def test_predictions_in_a_file(buffering: str, folder: Path, tmp_path: Path) -> None:
    """`predict` writes its file, even if nobody reads what it prints."""
    for place, output, expected in (("a", unread, (UNREAD, b"")), ("b", full_disk, (os.EX_TEMPFAIL, FULL))):
        out = tmp_path / f"{place}.csv"
        with output() as descriptor:
            arguments = ["service", "predict", "reviews.csv", "--out", str(out)]
            assert into(descriptor, arguments, buffering, folder) == expected
        assert out.read_text().count("\n") == 61


@BUFFERINGS
def test_training_and_export(buffering: str, folder: Path, tmp_path: Path) -> None:
    """`train` and `export` keep their results, even if nobody reads what they print."""
    for place, output, expected in (("a", unread, (UNREAD, b"")), ("b", full_disk, (os.EX_TEMPFAIL, FULL))):
        run, repository = tmp_path / place / "run", tmp_path / place / "models"
        with output() as descriptor:
            train = ["model", "train", "--data", "reviews.csv", "--out", str(run), *FLAGS]
            assert into(descriptor, train, buffering, folder) == expected
            export = ["export", str(run), "--repository", str(repository)]
            assert into(descriptor, export, buffering, folder) == expected
        assert (run / "report.html").exists()
        assert (repository / "tiny" / "1" / "manifest.json").exists()


@BUFFERINGS
def test_errors_that_nobody_reads(buffering: str, tmp_path: Path) -> None:
    """An error keeps its status if nobody reads its message."""
    with unread() as output:
        finished = subprocess.run(
            [sys.executable, "-m", "service", "check", str(tmp_path)],
            cwd=PROJECT,
            env=environment(**({"PYTHONUNBUFFERED": "1"} if buffering == "unbuffered" else {})),
            stdout=output,
            stderr=output,
            timeout=PATIENCE,
            check=False,
        )
    assert finished.returncode == 2


@BUFFERINGS
def test_log_that_nobody_reads(buffering: str) -> None:
    """`serve` outlives the program that reads its log, and ends with status 0."""
    variables = {"PYTHONUNBUFFERED": "1"} if buffering == "unbuffered" else {}
    flags = ("--port", "0", "--no-grpc", "--workers", "1", "--model-repository", str(CLASSIC_REPOSITORY))
    with subprocess.Popen(
        [sys.executable, "-m", "service", "serve", *flags],
        cwd=PROJECT,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout is not None
        port = next(match[1] for line in server.stdout if (match := re.search(r"listening on http.*:(\d+)", line)))
        server.stdout.close()
        for _ in range(3):
            answer = httpx.post(f"http://127.0.0.1:{port}/v1/predict", json={"text": "good"}, timeout=PATIENCE)
            assert answer.status_code == 200
        server.terminate()
        assert server.wait(PATIENCE) == 0


PROGRAM = "import os; print([name for name in os.environ if name in ('PYTHONUNBUFFERED', 'PYTHONDONTWRITEBYTECODE')])"


def test_environment_of_processes() -> None:
    """No process that a test starts inherits how a shell buffers standard output, or that it compiles nothing."""
    output = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"
