"""The gRPC stubs of an installed wheel, which need one package more than the wheel installs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.package.environments import Installed, closure, install, link
from tests.processes import MODEL_REPOSITORY, PATIENCE, ServerProcess, environment
from tests.test_clients_page import PROGRAMS, here, rounded

#: The program of docs/clients.md that calls the service with stubs, and what it prints.
[(PROGRAM, PRINTED)] = [pair for pair in PROGRAMS if "stubs" in pair[0]]


def call(client: Installed, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the environment of an installed wheel."""
    return subprocess.run(
        [client.program.with_name("python"), "-c", program],
        cwd=client.folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_stubs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The program of docs/clients.md runs with an installed wheel and grpcio, and prints what the page shows."""
    client = install(wheel, tmp_path_factory)
    link(client.program.parents[1], closure([Requirement("grpcio")]))
    with ServerProcess(repository=MODEL_REPOSITORY, default_model=None) as server:
        finished = call(client, here(PROGRAM, server))
    assert finished.returncode == 0, finished.stderr
    assert rounded(finished.stdout) == rounded(PRINTED)


def test_missing_grpcio(installed: Installed) -> None:
    """Without grpcio, importing the stubs fails and says how to install it."""
    finished = call(installed, "import sentiment_conv1d.stubs")
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1] == "ModuleNotFoundError: the gRPC stubs need grpcio: pip install grpcio"
