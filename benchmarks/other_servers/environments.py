"""An environment for each of the other servers, from its pinned requirements."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from loadtest.processes import PROJECT

_ENVIRONMENTS = PROJECT / ".other_servers"
_REQUIREMENTS = PROJECT / "requirements" / "other_servers"
_INSTALLED = ".installed"  # a copy of the requirements that were installed


class NotInstalled(Exception):
    """The environment of a server is missing or cannot be created."""


def requirements(name: str) -> Path:
    """Return the file of the pinned requirements."""
    return _REQUIREMENTS / f"{name}.txt"


def version(name: str, package: str) -> str:
    """Return the pinned version."""
    pin = re.search(rf"^{re.escape(package)}==(\S+)", requirements(name).read_text(), re.MULTILINE)
    assert pin is not None
    return pin[1]


def interpreter(name: str) -> str:
    """Return the Python of an environment.

    Raises `NotInstalled` if the environment is missing or was created from other requirements.
    """
    marker = _ENVIRONMENTS / name / _INSTALLED
    if not marker.exists() or marker.read_text() != requirements(name).read_text():
        raise NotInstalled("not installed: python -m benchmarks.other_servers --install")
    return str(marker.parent / "bin" / "python")


def install(name: str, python: str) -> None:
    """Create the environment again with this Python.

    Raises `NotInstalled` if it cannot be created.
    """
    folder = _ENVIRONMENTS / name
    shutil.rmtree(folder, ignore_errors=True)
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    for command in (
        (python, "-m", "venv", str(folder)),
        (*pip, "--require-hashes", "--requirement", str(requirements(name))),
    ):
        finished = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if finished.returncode:
            raise NotInstalled(finished.stderr.strip())
    shutil.copy(requirements(name), folder / _INSTALLED)
