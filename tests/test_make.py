"""The commands of the Makefile install what they need, and nothing else."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import PATIENCE, PROJECT
from tests.programs import needed


@pytest.mark.parametrize("target", ["train", "train-accurate", "train-reviews", "export"])
def test_training_without_the_development_tools(target: str, tmp_path: Path) -> None:
    """On a fresh machine, training and export install the training tools, and no development tools."""
    command = ["make", "--dry-run", f"VENV={tmp_path / 'venv'}", target]
    printed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    assert re.findall(r"--requirement (\S+)", printed) == ["requirements/train.txt"]


def test_check_before_the_installation(tmp_path: Path) -> None:
    """On a fresh machine, `make train` checks a file of texts before it installs TensorFlow."""
    command = ["make", "--dry-run", f"VENV={tmp_path / 'venv'}", "train", "DATA=tickets.csv"]
    printed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    steps = re.findall(r"--requirement requirements/(\S+)|model (train .*)", printed)
    arguments = "train --data tickets.csv --out runs/imdb-cnn "
    assert [first or second for first, second in steps] == [
        "runtime.txt",
        f"{arguments} --dry-run",
        "train.txt",
        arguments,
    ]


@pytest.mark.parametrize("words", ["test", "train", "train DATA=docs/tickets.csv", "train-reviews", "export"])
def test_python_without_tensorflow(words: str, tmp_path: Path) -> None:
    """With Python 3.14, commands that need TensorFlow say in one line that it has no wheels, and install nothing."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 14, 0); $2"\n')
    python.chmod(0o755)
    command = ["make", "--no-print-directory", f"VENV={tmp_path}", *words.split()]
    finished = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    message, end = finished.stderr.splitlines()
    assert message.startswith("The extra `train` needs TensorFlow, which has no wheels for Python 3.14: ")
    assert ": *** [Makefile:" in end  # after "make", or "make[1]" if make runs the tests
    assert finished.stdout == ""
    assert list(tmp_path.rglob("*")) == [python.parent, python]


def test_help() -> None:
    """`make help` lists every command with a description, and `make` alone does the same."""
    first, second = (
        subprocess.run(
            ["make", "--no-print-directory", *words],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout
        for words in (["help"], [])
    )
    described = re.findall(r"^([a-z0-9-]+):.*  ## (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert first == second
    assert [tuple(line.split(None, 1)) for line in first.splitlines()] == described
    assert {"serve", "test", "check-arm64"} <= dict(described).keys()


def test_pins_of_the_training_tools() -> None:
    """The development tools include the training tools with the same versions, so both fit into one environment."""
    training, development = pins("train"), pins("dev")
    assert {"keras", "scikit-learn", "tf2onnx"} <= set(training)
    assert training.items() <= development.items()


def test_layout(tmp_path: Path) -> None:
    """`make build/package` links the modules of the package as they are installed, again after a folder was added."""
    shutil.copy(PROJECT / "Makefile", tmp_path)
    for name in ("model", "tests", "sentiment_conv1d", "sentiment_conv1d/artifact", "server"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        subprocess.run(["make", "build/package"], cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE)
    [package] = (tmp_path / "build" / "package").iterdir()
    assert package.name == "sentiment_conv1d"
    assert {path.name: path.resolve() for path in package.iterdir()} == {
        "__init__.py": tmp_path / "sentiment_conv1d" / "__init__.py",
        "artifact": tmp_path / "sentiment_conv1d" / "artifact",
        "model": tmp_path / "model",
        "server": tmp_path / "server",
    }


def test_missing_programs_fail_continuous_integration(tmp_path: Path) -> None:
    """`.ci/run` sets CI=true wherever it runs, so a test whose program is missing fails in every command of it."""
    fake = tmp_path / "make"
    fake.write_text('#!/bin/sh\necho "make $1 with CI=$CI"\n')
    fake.chmod(0o755)
    variables = {name: value for name, value in os.environ.items() if name != "CI"}
    variables["PATH"] = f"{tmp_path}{os.pathsep}{variables['PATH']}"
    finished = subprocess.run(
        [PROJECT / ".ci" / "run"], env=variables, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    started = re.findall(r"^make (\S+) with CI=(.*)$", finished.stdout, re.MULTILINE)
    assert ("test", "true") in started
    assert {value for _, value in started} == {"true"}


def test_audit() -> None:
    """`make audit` collects the packages of every file, also of files with other versions of the same packages."""
    needed(Path(sys.prefix, "tools", ".installed"))
    command = ["make", "audit", f"VENV={sys.prefix}", "ARGS=--dry-run"]
    finished = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert finished.returncode == 0, finished.stderr
    counts = list(map(int, re.findall(r"would have audited (\d+) packages", finished.stderr)))
    assert len(counts) == finished.stdout.count("requirements/") >= 6
    assert min(counts) > 20


def test_audit_of_bad_pins(tmp_path: Path) -> None:
    """`make audit` fails, and names the file, if a package cannot be looked up because it has no hash."""
    needed(Path(sys.prefix, "tools", ".installed"))
    (tmp_path / "requirements").mkdir()
    shutil.copy(PROJECT / "Makefile", tmp_path)
    for name in ("tools", "runtime"):
        shutil.copy2(PROJECT / "requirements" / f"{name}.txt", tmp_path / "requirements")
    (tmp_path / "requirements" / "bad.txt").write_text("numpy==2.3.0\n")
    command = ["make", "audit", f"VENV={sys.prefix}", "ARGS=--dry-run", "AUDITED=bad runtime"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert finished.returncode != 0
    assert "make audit: FAILED: bad" in finished.stdout.splitlines()
    assert "would have audited" in finished.stderr


def pins(name: str) -> dict[str, str]:
    """Return the pinned versions of a set of requirements."""
    content = (PROJECT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([\w.-]+)==(\S+)", content, re.MULTILINE))
