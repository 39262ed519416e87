"""Commands before their imports have ended: signals end them without a traceback, and missing packages are named."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import PATIENCE, PROJECT, environment, patch

#: Sends a signal at one of the imports after the process has begun to handle it.
INTERRUPTING = """
import os, signal, sys
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell's background process
    signal.signal(signal.SIGINT, signal.default_int_handler)
left = int(os.environ["IMPORTS"])

def interrupt(event, arguments):
    global left
    if event == "import" and signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), int(os.environ["NUMBER"]))

sys.addaudithook(interrupt)
"""

SERVE = ["serve", "--port", "0", "--grpc-port", "0", "--workers", "1"]
TRAIN = ["train", "--data", "docs/tickets.csv", "--out", "{out}"]


@pytest.mark.parametrize("imports", [1, 10, 60, 200, 350, 500, 700])
@pytest.mark.parametrize(
    ("command", "number", "status"),
    [
        (["service", *SERVE], signal.SIGINT, 0),
        (["sentiment_conv1d", *SERVE], signal.SIGINT, 0),
        (["model", *TRAIN], signal.SIGINT, 130),
        (["model", *TRAIN], signal.SIGTERM, -signal.SIGTERM),
    ],
    ids=["serve", "sentiment_conv1d", "train", "train-SIGTERM"],
)
def test_interrupted_imports(
    command: list[str], number: signal.Signals, status: int, imports: int, tmp_path: Path
) -> None:
    """Ctrl-C during the imports ends `serve` with 0 and `train` with 130, and SIGTERM `train`, without a traceback."""
    finished = subprocess.run(
        [sys.executable, "-m", *(word.format(out=tmp_path / "run") for word in command)],
        cwd=PROJECT,
        env=environment(PYTHONPATH=patch(tmp_path / "patch", INTERRUPTING), IMPORTS=str(imports), NUMBER=str(number)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == status
    [*log, last] = finished.stderr.splitlines() or [""]
    assert last in ("", "interrupted: nothing was written") or "received SIGINT before the service was ready" in last
    assert not [line for line in log if " INFO " not in line]
    assert not (tmp_path / "run").exists()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the beginning of every command."""
    folder = tmp_path / "checkout"
    for package in ("service", "model", "export", "loadtest", "sentiment_conv1d", "sentiment_conv1d/commands"):
        (folder / package).mkdir(parents=True)
        for name in ("__init__.py", "__main__.py", "startup.py"):
            if (PROJECT / package / name).exists():
                shutil.copy(PROJECT / package / name, folder / package)
    (folder / "Makefile").touch()
    return folder


@pytest.mark.parametrize("module", ["service", "model", "export", "loadtest", "sentiment_conv1d"])
def test_missing_packages(module: str, checkout: Path) -> None:
    """A Python without the packages names that of the environment, or `make serve` if there is none."""

    def run(folder: Path) -> str:
        finished = subprocess.run(
            [sys.executable, "-S", "-m", module, "a b", "--out", "x"],  # without its site-packages
            cwd=folder,
            env=environment(PYTHONPATH=str(checkout)),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert finished.returncode == 2
        [line] = finished.stderr.splitlines()
        return line.partition("does not have the packages of this project: ")[2]

    assert run(checkout) == "run `make serve` first, which installs them into .venv"
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert run(checkout) == f"run .venv/bin/python -m {module} 'a b' --out x"
    assert run(checkout.parent) == f"run {python} -m {module} 'a b' --out x"
    (checkout / "Makefile").unlink()  # installed with pip
    assert run(checkout) == "install it with pip, which installs them too"
