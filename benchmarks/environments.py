"""An environment for each of the other servers and libraries, with the versions in versions.toml."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

from loadtest.processes import PROJECT

_ENVIRONMENTS = PROJECT / ".other_servers"
_VERSIONS = Path(__file__).parent / "versions.toml"
_INSTALLED = ".installed"  # lists the packages that were installed

#: The packages that all of them use, in the versions of this project.
_APPLICATION = ("onnxruntime", "tokenizers")


class NotInstalled(Exception):
    """An environment is missing or cannot be created."""


def packages(name: str) -> list[str]:
    """Return the packages of an environment, each with its version."""
    pins = (PROJECT / "requirements" / "dev.txt").read_text()
    shared = [pin for package in _APPLICATION for pin in re.findall(rf"^{package}==[^ ;]+", pins, re.MULTILINE)]
    return [*tomllib.loads(_VERSIONS.read_text())[name]["packages"], *shared]


def version(name: str, package: str) -> str:
    """Return the version of a package of an environment."""
    [found] = [pin for each in packages(name) if (pin := each.partition("=="))[0].partition("[")[0] == package]
    return found[2]


def interpreter(name: str) -> str:
    """Return the Python of an environment.

    Raises `NotInstalled` if the environment is missing or has other packages.
    """
    marker = _ENVIRONMENTS / name / _INSTALLED
    if not marker.exists() or marker.read_text().split() != packages(name):
        raise NotInstalled("not installed: --install creates its environment")
    return str(marker.parent / "bin" / "python")


def install(name: str, python: str) -> None:
    """Create the environment again with this Python.

    Raises `NotInstalled` if it cannot be created.
    """
    folder = _ENVIRONMENTS / name
    shutil.rmtree(folder, ignore_errors=True)
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    for command in ((python, "-m", "venv", str(folder)), (*pip, "pip", *packages(name))):
        finished = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if finished.returncode:
            raise NotInstalled(finished.stderr.strip())
    (folder / _INSTALLED).write_text("\n".join(packages(name)))


def install_missing(packages: Mapping[str, str], python: str) -> None:
    """Create the missing environments. `packages` has the package of each name that the output states.

    Exits with a message for each that could not be created.
    """
    failures = []
    for name, package in packages.items():
        print(f"{package} {version(name, package)}", flush=True)
        try:
            interpreter(name)
        except NotInstalled:
            try:
                install(name, python)
            except NotInstalled as reason:
                failures.append(f"{package} cannot be installed: {reason}")
    if failures:
        raise SystemExit("\n".join(failures))
