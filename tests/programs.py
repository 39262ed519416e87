"""Finds programs that are not Python's: unpacked by `make test-all`, or installed on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from tests.processes import PATIENCE, PROJECT

_ENVIRONMENT = Path(sys.prefix)
_FOLDERS = [str(_ENVIRONMENT / folder) for folder in ("bin", "debian/usr/bin", "debian/usr/sbin", "tools/bin")]
_PATH = os.pathsep.join((*_FOLDERS, os.environ.get("PATH", "")))


def find(name: str) -> str:
    """Return the path of a program. If it is missing, skip the test, or fail if CI is set."""
    if (found := shutil.which(name, path=_PATH)) is not None:
        return found
    missing(name)


def needed(path: Path) -> None:
    """Skip the test if a file or folder is missing, or fail if CI is set."""
    if not path.exists():
        missing(str(path))


def missing(what: str) -> NoReturn:
    """Skip the test, or fail if CI is set."""
    if os.environ.get("CI"):
        pytest.fail(f"this machine has no {what}, and make did not get it")
    pytest.skip(f"this machine has no {what}")


def output(name: str, *arguments: str, given: str | None = None) -> str:
    """Run a program in the project's folder and return its output. It reads what is `given`, and must succeed."""
    finished = subprocess.run(
        [find(name), *arguments],
        cwd=PROJECT,
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout
