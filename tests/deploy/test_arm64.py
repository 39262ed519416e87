"""`make check-arm64`: every pinned package has a wheel for arm64 Linux."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.pins import pinned
from tests.processes import PATIENCE, PROJECT
from tests.programs import find

#: Messages of uv if the package index does not answer, or if uv is offline.
NO_ANSWER = ("Failed to fetch", "network is disabled")


def check(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `make check-arm64`. Skip the test if the package index does not answer."""
    values = {"UV": find("uv"), "VENV": str(folder)} | variables
    command = ["make", "check-arm64", *(f"{name}={value}" for name, value in values.items())]
    finished = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if any(message in finished.stderr for message in NO_ANSWER):
        pytest.skip("the package index does not answer")
    return finished


def test_wheels(tmp_path: Path) -> None:
    """The packages of both images have wheels for every supported Python."""
    finished = check(tmp_path)
    assert finished.returncode == 0, finished.stderr


def test_missing_wheels(tmp_path: Path) -> None:
    """The check fails for a system that is too old for the wheels of a package."""
    finished = check(tmp_path, ARM64="aarch64-manylinux_2_17")
    assert finished.returncode != 0 and "no usable wheels" in finished.stderr


def test_images_have_the_packages_of_the_service() -> None:
    """The CUDA image has the packages of the other image, of which it replaces one."""
    assert {name for name, _ in pinned("runtime.txt") - pinned("cuda.txt")} == {"onnxruntime"}
