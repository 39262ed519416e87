"""Fixtures: the wheel, and environments that it is installed in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.package.environments import Installed, build, install
from tests.processes import PROJECT


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of the checkout."""
    return build(PROJECT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the wheel in an environment with only its declared dependencies."""
    return install(wheel, tmp_path_factory)


@pytest.fixture(scope="session")
def installed_for_training(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the wheel with its extra `train`."""
    return install(wheel, tmp_path_factory, "train")
