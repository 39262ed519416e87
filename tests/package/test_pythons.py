"""The Python interface of an installed wheel, with every supported Python and with mypy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.package.environments import find_python, make_environment, pip
from tests.processes import PATIENCE, PROJECT, environment
from tests.programs import find

RUNNER = PROJECT / "tests" / "sentiment_conv1d" / "page.py"

#: A user's program, and what mypy says about it.
PROGRAM = """
from collections.abc import Iterable
from typing import assert_type

import sentiment_conv1d
from sentiment_conv1d import Explanation, Model, Prediction, load

model: Model = load("imdb-cnn:1", threads=2)
assert_type(model.predict("good"), Prediction)
assert_type(model.predict(["good", "bad"]), list[Prediction])
assert_type(model.predict(each for each in ["good"]), list[Prediction])
assert_type(model.predict("good").probabilities["positive"], float)
explanation: Explanation = model.explain("good", "positive", filters=3)
shares: list[float] = [word.share for word in explanation.words]
version: str = sentiment_conv1d.__version__
app = sentiment_conv1d.asgi(model, max_batch_texts=3)
"""
MISTAKES = """
import sentiment_conv1d

model = sentiment_conv1d.load(1)
model.predict([b"good"])
model.predict("good").lable
sentiment_conv1d.predict("good")
"""


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_page(wheel: Path, tmp_path: Path, version: str) -> None:
    """docs/python.md holds line by line for the installed wheel."""
    python = make_environment(tmp_path / "environment", find_python(version))
    requirements = str(PROJECT / "requirements" / "extras.txt")
    uv = [find("uv"), "pip", "install", "--quiet", "--python", str(python)]
    finished = subprocess.run(
        [*uv, "--require-hashes", "--requirement", requirements],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if finished.returncode:
        reason = f"the packages cannot be installed here: {finished.stderr}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    result = subprocess.run(
        [python, "-P", RUNNER, PROJECT / "docs" / "python.md"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def check_types(program: str, folder: Path, python: Path) -> subprocess.CompletedProcess[str]:
    """Let mypy check a program that uses the packages of an environment."""
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "program.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture(scope="module")
def typed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel without its dependencies, and return the Python of the environment."""
    python = make_environment(tmp_path_factory.mktemp("typed") / "environment")
    pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    return python


def test_types(typed: Path, tmp_path: Path) -> None:
    """`mypy --strict` accepts a program that uses the interface."""
    result = check_types(PROGRAM, tmp_path, typed)
    assert result.returncode == 0, result.stdout


def test_mistakes(typed: Path, tmp_path: Path) -> None:
    """mypy reports wrong arguments and unknown names."""
    lines = check_types(MISTAKES, tmp_path, typed).stdout.splitlines()
    assert [line.rpartition("[")[2] for line in lines if ": error: " in line] == [
        "arg-type]",
        "list-item]",
        "attr-defined]",
        "attr-defined]",
    ]
